"""Objects and formulas of detector events: no network, no simulator."""
