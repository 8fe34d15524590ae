"""What tomography of a set of measurements gives, and its files and pictures."""
