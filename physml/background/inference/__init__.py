"""The network, what applies it, and the cuts on what it says."""
