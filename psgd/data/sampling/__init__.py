"""Samplers: the row numbers of each worker's batches, as functions of (seed, progress, worker)."""
