"""What the runs of one row do not share though they should: config keys, and figures of the test set."""
import functools
import re
from collections import defaultdict

from ..config import PASSING, keys, parsed

OF_A_RUN = ("SEED", "DATASET.", *PASSING)
OF_A_DATASET = ("TRAINER.PROMPTSRC.GPA_MEAN", "TRAINER.PROMPTSRC.GPA_STD", "LOSS.LAMBDA")  # scripts set them by it
# Sections of YAML, with the lines indented below them, without which the texts of a row are mostly the same.
SECTIONS = re.compile(r"^(?:SEED|DATASET|OUTPUT_DIR|RESUME|VERBOSE|USE_CUDA):.*\n(?: .*\n)*", re.MULTILINE)
MOST = 20  # texts of a row that are read: YAML takes milliseconds


def notes(runs, line_of):
    """Return notes on rows, ``line_of(run)``, that hold several configs or figures of the validation set."""
    rows = defaultdict(list)
    for run in runs:
        rows[line_of(run)].append(run)
    found = []
    for line, held in rows.items():
        name = f"{line.method} ({line.config})" if line.config else line.method
        if differing := differing_keys(held):
            told = ", ".join(key[:80] for key in differing[:3]) + (", …" if len(differing) > 3 else "")
            found.append(f"{name}: {told} differ{'s' * (len(differing) == 1)} between its runs")
        validated = sum(not run.content["results"].get("test") for run in held)
        if validated:
            share = f" in {validated} of {len(held)} runs" if validated < len(held) else ""
            found.append(f"{name}: validation figures{share}")
    return found


def differing_keys(runs):
    """Return the config keys in which runs of one row differ; those that scripts set by dataset, within a dataset."""
    texts = defaultdict(set)
    for run in runs:
        if isinstance(text := run.content.get("config"), str):
            texts[SECTIONS.sub("", text)].add(run.dataset)
    if len(texts) < 2:
        return []
    values = defaultdict(set)
    for text in sorted(texts)[:MOST]:
        for key, value in leaves(text):
            for dataset in texts[text] if key in OF_A_DATASET else [""]:
                values[key, dataset].add(value)
    return sorted({key for (key, _), found in values.items() if len(found) > 1})


@functools.lru_cache(256)
def leaves(text):
    """Return [(key, value as text), …] of a config's text that should be the same; of what is no config, none."""
    return [(key, repr(value)) for key, value in keys(parsed(text) or {}).items() if not key.startswith(OF_A_RUN)]
