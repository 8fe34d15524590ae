"""Training sets, calibration and the model card."""
