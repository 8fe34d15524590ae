"""Tools that only Snakemake's files call."""
