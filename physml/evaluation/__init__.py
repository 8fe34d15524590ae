"""Evidence that results can be believed: metrics, calibration, intervals, figures."""
