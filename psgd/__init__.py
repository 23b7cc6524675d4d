"""psgd: parallel SGD whose strategies, groups and bits can be compared. Importing it imports no numpy."""

__version__ = "0.1.0"
