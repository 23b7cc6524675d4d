"""Measuring the parts of a round on this machine, to forecast what a job will cost. Trains nothing that is kept."""
