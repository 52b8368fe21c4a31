"""Trainers on the golden files' cases."""
from support import reference


def make(case, weights, output, **options):
    return reference.make(case, weights(reference.CASES[case][1]), output, **options)
