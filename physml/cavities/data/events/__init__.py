"""Event lists: read in blocks, selected, and binned into an image with its field of view."""
