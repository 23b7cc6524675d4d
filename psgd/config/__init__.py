"""The settings of a job: read, checked and resolved on the first process only; the others receive the result."""

from psgd.config.resolve import Resolved, dump, resolve

__all__ = ["Resolved", "dump", "resolve"]
