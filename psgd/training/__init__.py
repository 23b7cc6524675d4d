"""The training loop: rounds, local steps, evaluation, checkpoints and metrics. Knows a group, but not its transport."""
