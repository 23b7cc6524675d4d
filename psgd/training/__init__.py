"""One process's training: the loop, local steps, evaluation, checkpoints, metrics and progress."""
