"""Comparing finished runs by the metrics in their directories. Trains nothing and draws nothing."""
