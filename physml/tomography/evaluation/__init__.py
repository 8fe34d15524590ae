"""Test sets, rivals, metrics and figures."""
