"""Recorders: what a run tells to TensorBoard and MLflow, beside metrics.jsonl."""
