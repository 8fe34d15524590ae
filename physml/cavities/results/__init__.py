"""What the search of an image gives, and its files and pictures."""
