"""Tests whether counts fit a state: repeats, groups of equal settings, the test in the loop."""
