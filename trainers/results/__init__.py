"""What runs leave behind and what papers print: ``result.json`` of one run, tables, pictures and a report of many."""
from .record import FILE, figures, git_state, peak_memory, read, told, write
