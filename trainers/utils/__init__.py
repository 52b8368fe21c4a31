"""What every room may use and none is about: files, locks, the console, images, paths."""
