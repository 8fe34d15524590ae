"""Results of the search of an image, and their files and pictures."""
