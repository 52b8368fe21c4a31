"""A classifier of one's own pictures: fit it, use it, and see on one page how good it is."""
