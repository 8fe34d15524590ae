"""Parts of the comparison with CADET: predictions, fitted thresholds, times, numbers, blocks."""
