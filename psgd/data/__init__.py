"""Reading, making and gathering examples. Knows nothing of workers, batches' order, models or devices."""
