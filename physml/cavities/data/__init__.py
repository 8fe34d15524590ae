"""Users' images, masks and maps, read and checked."""
