"""What is trained: gradients and scores of one flat parameter vector."""
