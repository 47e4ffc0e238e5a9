"""Files for other programs: tables."""
