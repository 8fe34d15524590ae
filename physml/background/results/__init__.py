"""What cleaning an observation gives, and its files and pictures."""
