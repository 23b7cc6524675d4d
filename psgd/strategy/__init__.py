"""Strategies: what a worker does locally, how contributions are weighed, how the combination is applied."""
