"""Measurements of speed, run by hand; no timing belongs in the test suite.

* ``python -m benchmarks.training``: images per second of training, beside other ways to train the same network
* ``python -m benchmarks.likelihood``: log p(x) by importance sampling, as a share of plain matrix products
* ``python -m benchmarks.start``: how soon the command answers, how soon it trains, and how much memory it takes
* ``python -m benchmarks.decoding``: images a second into the cache, beside Pillow
* ``python -m benchmarks.gathering``: what gathering and augmenting take of a training step
* ``python -m benchmarks.linear``: no speed, but what a linear model reaches on a run's images

``requirements.txt`` beside this file lists what the measurements need beyond vaekit.
"""
