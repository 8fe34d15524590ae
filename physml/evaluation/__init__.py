"""What makes results believable: metrics, calibration, intervals, figures."""
