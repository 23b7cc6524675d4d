"""Comparisons: plan, tuning, runs, statistics, modelled clock and report; pictures and explanations of single runs."""
