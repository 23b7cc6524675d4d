"""How hypothesis draws examples: the same in every run."""

from hypothesis import settings

repeatable = settings(derandomize=True, deadline=None)
