"""Objects and formulas of cavities: no network, no file, no simulator."""
