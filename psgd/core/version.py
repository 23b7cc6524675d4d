"""The version of psgd, which models and run directories record."""

__version__ = "0.1.0"
