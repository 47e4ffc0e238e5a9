"""The lowest layer: contracts between parts, configuration, schedules, units, errors, random numbers, progress and files."""
