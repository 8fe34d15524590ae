"""Simulated states, counts and experiments."""
