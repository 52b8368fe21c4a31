"""The published protocols: which runs of train.py each script stands for. Needs no torch."""
