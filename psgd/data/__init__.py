"""Data sets in memory or in mapped files, samplers, and readers of batches. Knows a run's progress and the numbers of
workers, but no learner, no group and no strategy."""
