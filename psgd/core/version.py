"""The version of psgd. Models and run directories record it."""

__version__ = "0.1.0"
