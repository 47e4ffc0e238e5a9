"""The slow suite of faults: kills, full disks, several writers, random input and hostile files.

``python -m tests.faults kills|disk|writers|fuzz|zoo`` tries the commands as a user runs them, prints a table, and exits
with 1 if anything was lost. It needs Linux and a C compiler, and is not part of the tests that run on each change.
"""
