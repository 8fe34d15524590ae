"""Users' counts, sessions and laboratories, read and checked."""
