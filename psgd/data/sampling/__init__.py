"""Samplers: which rows each worker's batches hold, as functions of (seed, progress, worker). Knows row numbers only."""
