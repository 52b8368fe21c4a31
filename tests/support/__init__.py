"""What several tests need: small collections of pictures, and the command line in this process."""
