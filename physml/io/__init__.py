"""Reading that trusts no file and writing that never leaves half a file."""
