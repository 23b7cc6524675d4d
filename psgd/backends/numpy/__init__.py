"""The numpy backend: the passes of a network over buffers that are allocated once. Knows no optimizer and no worker."""
