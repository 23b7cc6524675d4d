"""Data sets in memory or mapped files, and how rows become batches. Knows progress and workers' numbers, but no model,
no group and no strategy."""
