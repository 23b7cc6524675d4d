"""Measures the parts of a round on this machine and forecasts the speed of a job. Nothing that it trains is kept."""
