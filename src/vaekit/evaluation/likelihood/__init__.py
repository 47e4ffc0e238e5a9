"""Estimators of log p(x) and of its bounds."""
