"""Training runs: what identifies one, and what its checkpoints were made for."""
