"""What trains and evaluates all methods."""
