"""Results of cleaning an observation, and their files and pictures."""
