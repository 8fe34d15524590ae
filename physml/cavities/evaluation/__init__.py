"""Test sets, ideal observer, metrics and figures."""
