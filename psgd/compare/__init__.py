"""Comparing runs: curves and pictures."""
