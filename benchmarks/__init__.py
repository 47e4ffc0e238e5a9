"""Measurements of speed, run by hand; no timing belongs in the test suite.

* ``python -m benchmarks.training``: pictures per second of training, beside other ways to train the same network
* ``python -m benchmarks.start``: how soon the command answers, how soon it trains, and how much memory it takes

``requirements.txt`` beside this file lists what the measurements need beyond vaekit.
"""
