"""Evaluation: estimators of how good a model is, each with standard errors.

The modules are imported by name: ``model_evaluation`` uses all of them, and some import packages that take a second to load,
such as ``torchmetrics``.
"""
