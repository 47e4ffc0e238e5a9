"""How good a model is, in numbers that one can quote.

Its modules are imported by name, each only when it is wanted: ``likelihood`` is light, ``reconstruction`` brings the image
metrics of ``torchmetrics``, which take a second to import, and ``evaluate`` brings them all.
"""
