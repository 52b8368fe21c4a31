"""All runs of methods, settings, datasets, shots and seeds by one command, on this machine or on a cluster."""
