"""Parts of the benchmarks of tomography."""
