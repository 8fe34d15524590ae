"""Likelihood of the listed cavities beside the network: sizes, errors and evidence."""
