"""The study: the papers' settings and claims on the emoji datasets, within the hour on two cores."""
