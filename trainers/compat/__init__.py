"""What lets the library run inside a host repository: its Dassl, whatever the version, and its checkpoints."""
