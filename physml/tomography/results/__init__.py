"""Result of a set of measurements, its files and its picture."""
