"""Learners, which compute gradients and scores of one flat parameter vector, and models saved after training."""
