"""Event lists as each mission writes them: channels, grades, flags, good times, clocks."""
