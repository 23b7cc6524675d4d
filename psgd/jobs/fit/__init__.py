"""`psgd.fit`: training a user's own function, called from Python."""
