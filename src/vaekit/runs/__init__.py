"""Run folders and recipes."""
