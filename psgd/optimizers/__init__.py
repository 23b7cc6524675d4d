"""Optimizers: elementwise rules, the schedules of their rates, clipping."""
