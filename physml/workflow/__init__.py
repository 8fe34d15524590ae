"""What only Snakemake's files call."""
