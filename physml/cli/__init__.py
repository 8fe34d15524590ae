"""The command line ``physml``."""
