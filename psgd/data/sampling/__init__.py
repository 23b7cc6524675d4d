"""Which rows every worker's batches hold."""
