"""The ideas, each small and usable alone."""
