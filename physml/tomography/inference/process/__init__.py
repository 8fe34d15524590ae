"""Estimates of processes from counts: Bayesian, maximum likelihood, linear."""
