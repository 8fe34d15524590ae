"""Estimators that learn nothing: linear, likelihood, particle filter."""
