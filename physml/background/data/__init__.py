"""Users' frames and event lists, read and checked."""
