"""Experiment trackers: what a run tells to TensorBoard and MLflow, beside metrics.jsonl. The setting is `record`."""
