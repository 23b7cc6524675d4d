"""The CUDA device: the steps of all workers of a process at once, on a GPU.

Everything but cupy_device.py runs on a CPU as well, where tests put another device in its place.
"""
