"""Optimizers: elementwise update rules, learning-rate schedules, clipping."""
