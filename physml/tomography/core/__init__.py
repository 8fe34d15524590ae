"""Objects and formulas of states and measurements: no network, no file."""
