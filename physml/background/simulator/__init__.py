"""Simulated exposures of a detector in orbit."""
