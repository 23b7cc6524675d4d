"""Strategies: how many steps each worker takes, what it computes, how contributions are weighted and applied."""
