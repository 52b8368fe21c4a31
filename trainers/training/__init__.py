"""The training of prompts, by rooms: what is checked before it, what it carries, how it is saved."""
