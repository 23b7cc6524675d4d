"""Single runs, explained in words and drawn as learning curves."""
