"""Simulated images of galaxy clusters with cavities."""
