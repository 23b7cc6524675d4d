"""Numbers of things, for people."""


def counted(count: int, noun: str) -> str:
    """Return the number, with commas between thousands, and the noun, with an s unless there is one of it."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
