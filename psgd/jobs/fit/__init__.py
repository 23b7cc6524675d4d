"""`psgd.fit`: training a user's own numpy function."""
