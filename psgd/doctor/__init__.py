"""The command `psgd doctor`: checks this machine for what psgd needs, and says what to do about what is wrong.

`checks.py` is the table of checks; each one is a file of this package. A check looks at the machine and returns
findings. It changes nothing, and runs in a process of its own with a time limit (`isolation.py`).
"""
