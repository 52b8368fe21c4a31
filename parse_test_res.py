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


def plain(text):
    """Return a text with its control characters written as escapes, as trainers.answer.plain does."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: ascii(found[0])[1:-1], text)


def visible_folders(directory):
    """Return the names of the folders in ``directory`` that do not start with a dot, sorted."""
    if not os.path.isdir(directory):
        raise NothingFound(f"{directory} is not a folder")
    return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith("."))


def percentage(path, keyword, value):
    """Return ``value``; raises NothingFound where it is no percentage: somebody's hand has been in the file."""
    if not 0 <= value <= 100:
        raise NothingFound(f"{path} holds {value:g} as its {keyword}, which is no percentage")
    return value


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
    """Return (the figure ``keyword`` of a run's result.json, on the test set if there is one; the file's content).

    Raises:
        NothingFound: the file is not whole, holds no such figure, or one that is not in 0..100.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        results = content["results"]
        figures = results.get("test") or next(iter(results.values()))
        figures = {**figures, "error": 100 - figures["accuracy"]}
        finite = isinstance(figures.get(keyword), (int, float)) and math.isfinite(figures[keyword])
    except (OverflowError, OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration,
            RecursionError) as error:
        raise NothingFound(f"{path} is not a whole result ({error!r})") from error
    if not finite:
        raise NothingFound(f"{path} holds no {keyword}")
    return percentage(path, keyword, float(figures[keyword])), content


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


def summarize(directory, keyword, signals, ci95):
    """Print the value of each run in ``directory``, their mean and deviation; return the mean.

    The deviation is the population's, or, for ``ci95``, 1.96 times it over the root of the number of runs. Runs
    without a result are left out, which is said on stderr.

    Raises:
        NothingFound: there are no runs, or none has a result.
    """
    values, missing, contents = {}, [], []
    for run in visible_folders(directory):
        log, result = (os.path.join(directory, run, name) for name in ("log.txt", "result.json"))
        try:
            if os.path.exists(result):
                values[result], content = read_json(result, keyword)
                contents.append(content)
            else:
                values[log] = read_value(log, keyword, signals)
        except NothingFound as reason:
            missing.append(str(reason))
    if not values:
        raise NothingFound(f"no result in {directory}: {missing[0] if missing else 'it holds no folders of runs'}")
    for reason in missing:
        print(plain(f"left out: {reason}"), file=sys.stderr)
    for words in repeats(contents):
        print(plain(f"note: {directory}: {words}"), file=sys.stderr)

    print(f"Parsing files in {plain(directory)}")
    for log, value in values.items():
        print(plain(f"file: {log}. {keyword}: {value:.2f}%. "))
    mean, deviation = np.mean(list(values.values())), np.std(list(values.values()))
    if ci95:
        deviation *= 1.96 / len(values) ** 0.5
    print(f"===\nSummary of directory: {plain(directory)}\n* {keyword}: {mean:.2f}% +- {deviation:.2f}%\n===")
    return mean


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as trainers.answer.Parser does: this file needs no package beside it."""

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

    how = args.keyword, RESULT if args.test_log else END_OF_TRAINING, args.ci95
    try:
        if args.multi_exp:
            experiments = visible_folders(args.directory)
            if not experiments:
                raise NothingFound(f"{args.directory} holds no folders of experiments")
            means = [summarize(os.path.join(args.directory, name), *how) for name in experiments]
            print(f"Average performance\n* {args.keyword}: {np.mean(means):.2f}%")
        else:
            summarize(args.directory, *how)
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
