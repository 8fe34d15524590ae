"""What users bring as counts: names of outcomes, tables, files and objects of other programs."""
