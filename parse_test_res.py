"""Reads the results out of runs' logs and prints their mean and deviation over seeds, with CoOp's flags and output.

    python parse_test_res.py output/my_experiment

reads my_experiment/SEED/log.txt of every folder SEED. With ``--multi-exp`` my_experiment holds several such folders
(my_experiment/EXPERIMENT/SEED/log.txt); each is summarized, then the mean over them is printed. A result counts once
the training has ended ("Finish training", as Dassl prints, or "Finished training"); ``--test-log`` is for logs of
evaluation alone and takes any result. The last result in a log wins. Where a run has left a result.json, which holds
the figures unrounded, it is read, not the log; what counts twice in the mean is then noted on standard error.
Tables and pictures: python -m trainers.results my_experiment.
"""
import argparse
import contextlib
import json
import math
import os
import re
import sys

import numpy as np

END_OF_TRAINING = ("Finish training", "Finished training")
RESULT = ("=> result",)


class NothingFound(Exception):
    """There is no result where one was asked for; the message is one line."""


class Impossible(NothingFound):
    """A figure that no run has written: no mean is printed with it, nor without it."""


def plain(text):
    """Return a text with its control characters written as escapes, as the library's console does."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: ascii(found[0])[1:-1], text)


def visible_folders(directory):
    """Return the names of the folders in ``directory`` that do not start with a dot, sorted."""
    if not os.path.isdir(directory):
        raise NothingFound(f"{directory} is not a folder")
    return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith("."))


def percentage(path, keyword, value):
    """Return ``value`` as a float; raises Impossible where it is no percentage: a hand has been in the file."""
    if type(value) not in (int, float) or not 0 <= value <= 100:
        raise Impossible(f"{path} holds {value!r} as its {keyword}, which is no percentage: correct the file, or "
                         "delete it and make the run again")
    return float(value)


def read_value(log, keyword, signals):
    """Return the last figure ``* KEYWORD: FIGURE%`` after a line that is one of ``signals``.

    Raises:
        NothingFound: the log is missing, no such figure is in it, or it is not in 0..100.
    """
    figure = re.compile(rf"\* {re.escape(keyword)}: ([.\deE+-]+)%")
    value, seen = None, set()
    try:
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in map(str.strip, lines):
                seen.add(line)
                match = figure.search(line)
                if match and not seen.isdisjoint(signals):
                    with contextlib.suppress(ValueError):  # signs and points that make no number
                        value = float(match[1]) if math.isfinite(float(match[1])) else value
    except OSError as error:
        raise NothingFound(f"{log} cannot be read ({error.strerror})") from error
    if value is None and not seen.isdisjoint(signals):
        raise NothingFound(f"{log} holds no {keyword}")
    if value is None:
        hint = ", only an evaluation: read it with --test-log" if not seen.isdisjoint(RESULT) else ""
        raise NothingFound(f'{log} has no line "{signals[0]}"{hint}')
    return percentage(log, keyword, value)


def read_json(path, keyword):
    """Return the figure ``keyword`` of a run's result.json, on the test set if there is one, and all of its content.

    Raises:
        NothingFound: the file is not whole or holds no such figure; Impossible: one that is not in 0..100.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        results = content["results"]
        figures = results.get("test") or next(iter(results.values()))
        accuracy, found = figures["accuracy"], figures.get(keyword)
    except (OverflowError, OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration,
            RecursionError) as error:
        raise NothingFound(f"{path} is not a whole result ({error!r})") from error
    accuracy = percentage(path, "accuracy", accuracy)  # whichever figure is asked for
    if found is None and keyword != "error":
        raise NothingFound(f"{path} holds no {keyword}")
    return percentage(path, keyword, 100 - accuracy if keyword == "error" else found), content


def repeats(contents):
    """Return what to say of results that count more than once in a mean over seeds, or are of no test set."""
    words = []
    for key, what in (("seed", "seed"), ("prompts", "trained prompts")):  # prompts by their hash
        values = [str(content[key]) for content in contents if content.get(key) not in (None, -1)]
        more = sorted({value for value in values if values.count(value) > 1})
        words += [f"{values.count(value)} results are of the same {what} ({value})" for value in more]
    if contents and not any(content["results"].get("test") for content in contents):
        words.append("these figures are of the validation set, not of the test set")
    return words


def mixture(contents):
    """Return what to say of runs' contents that should differ in their seeds alone: [] where they do."""
    found = {}
    for content in contents:
        identity = content.get("identity") if isinstance(content.get("identity"), dict) else {}
        label = content.get("dataset_label") if content.get("dataset") == "ImageFolder" else None
        told = {"trainer": content.get("trainer"), "dataset": label or content.get("dataset"),
                "dataset's content": identity.get("dataset"), "classes": content.get("classes"),
                "shots": content.get("shots"), "backbone": content.get("backbone"), "weights": identity.get("weights"),
                "split": "test" if content["results"].get("test") else "validation"}
        for key, value in told.items():
            if value is not None:
                found.setdefault(key, set()).add(str(value))
    def place(value):
        return int(value) if re.fullmatch(r"\d{1,9}", value) else -1, value
    words = [f"{key} ({', '.join(sorted(values, key=place))})" for key, values in found.items() if len(values) > 1]
    notes = dict.fromkeys(str(note) for content in contents if isinstance(content.get("notes"), list)
                          for note in content["notes"])
    return [f"the runs differ in more than their seeds: {'; '.join(words)}"] * bool(words) + list(notes)


def read_runs(directory, keyword, signals):
    """Return {file: value} of the runs in ``directory``, [content of a result.json, …], [why a run is left out, …].

    Raises:
        NothingFound: there are no runs, or none has a result; Impossible: one has a result that no run has written.
    """
    values, contents, missing = {}, [], []
    for run in visible_folders(directory):
        log, result = (os.path.join(directory, run, name) for name in ("log.txt", "result.json"))
        try:
            if os.path.exists(result):
                values[result], content = read_json(result, keyword)
                contents.append(content)
            else:
                values[log] = read_value(log, keyword, signals)
        except Impossible:
            raise
        except NothingFound as reason:
            missing.append(str(reason))
    if not values:
        raise NothingFound(f"no result in {directory}: {missing[0] if missing else 'it holds no folders of runs'}")
    return values, contents, missing


def summarize(directory, keyword, found, ci95):
    """Print the value of each run that ``read_runs`` has found, their mean and deviation; return the mean.

    The deviation is the population's, or, for ``ci95``, 1.96 times it over the root of the number of runs. What else
    there is to know of the runs goes to stderr.
    """
    values, contents, missing = found
    for line in [f"left out: {reason}" for reason in missing] + [f"note: {directory}: {note}"
                                                                  for note in repeats(contents) + mixture(contents)]:
        print(plain(line), file=sys.stderr)

    print(f"Parsing files in {plain(directory)}")
    for log, value in values.items():
        print(plain(f"file: {log}. {keyword}: {value:.2f}%. "))
    mean, deviation = np.mean(list(values.values())), np.std(list(values.values()))
    if ci95:
        deviation *= 1.96 / len(values) ** 0.5
    print(f"===\nSummary of directory: {plain(directory)}\n* {keyword}: {mean:.2f}% +- {deviation:.2f}%\n===")
    return mean


def summarize_all(directories, keyword, signals, ci95):
    """Print the summary of each directory and the mean over them; what is found wrong in one is said before any."""
    found = {directory: read_runs(directory, keyword, signals) for directory in directories}
    means = [summarize(directory, keyword, runs, ci95) for directory, runs in found.items()]
    print(f"Average performance\n* {keyword}: {np.mean(means):.2f}%")
    counts = {}
    for directory, (values, _, _) in found.items():
        counts.setdefault(len(values), []).append(os.path.basename(directory))
    if len(counts) > 1:
        told = "; ".join(f"{number} in {', '.join(names)}" for number, names in sorted(counts.items(), reverse=True))
        print(plain(f"note: the average is over experiments of different numbers of runs: {told}"), file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as trainers.utils.console.Parser does: this file needs no package beside it."""

    def error(self, message):
        self.exit(2, f"error: {message}; all flags are listed by --help\n")


def main(argv=None):
    parser = Parser(description="Mean and deviation of runs' results, read from their logs.")
    parser.add_argument("directory", help="folder of runs, each a folder with a log.txt")
    parser.add_argument("--ci95", action="store_true", help="print the 95%% confidence interval, not the deviation")
    parser.add_argument("--test-log", action="store_true", help="the logs are of evaluation alone")
    parser.add_argument("--multi-exp", action="store_true", help="the folder holds several folders of runs")
    parser.add_argument("--keyword", default="accuracy", help="which figure to read (default: accuracy)")
    args = parser.parse_args(argv)

    signals = RESULT if args.test_log else END_OF_TRAINING
    try:
        if args.multi_exp:
            experiments = visible_folders(args.directory)
            if not experiments:
                raise NothingFound(f"{args.directory} holds no folders of experiments")
            directories = [os.path.join(args.directory, name) for name in experiments]
            summarize_all(directories, args.keyword, signals, args.ci95)
        else:
            summarize(args.directory, args.keyword, read_runs(args.directory, args.keyword, signals), args.ci95)
        sys.stdout.flush()
        return 0
    except NothingFound as reason:
        print(plain(f"error: {reason}"), file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
