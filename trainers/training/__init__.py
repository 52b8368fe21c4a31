"""Training: what runs around a method, from the data it is given to what is kept of it."""
