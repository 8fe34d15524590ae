"""The learned estimator: information filter and corrector."""
