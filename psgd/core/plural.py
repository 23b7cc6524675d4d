"""Numbers of things, for people."""


def plural(noun: str, count: int) -> str:
    """Return the noun, with an s unless there is one of it."""
    return noun if count == 1 else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """Return the number, with commas between thousands, and the noun."""
    return f"{count:,} {plural(noun, count)}"
