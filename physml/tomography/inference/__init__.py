"""Estimators, regions, goodness of fit and the tomographer."""
