"""Choices that a config leaves open: the group, the backend, and the device of each process."""
