"""Benchmarks of speed and memory, run by hand; the test suite measures no times.

``README.md`` beside this file lists the commands, what they measure, and the results. ``requirements.txt`` lists the
packages that the benchmarks need in addition to vaekit.
"""
