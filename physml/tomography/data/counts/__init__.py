"""Counts as users bring them: names of outcomes, tables, files and objects of other programs."""
