"""Parts of the benchmark of what feeds a training."""
