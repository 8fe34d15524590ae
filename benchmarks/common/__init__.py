"""What the benchmarks share: their options, tables, times, kept rows and files."""
