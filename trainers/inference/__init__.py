"""Trained prompts outside of Dassl: what a notebook or a server calls."""
