"""What the runs of a comparison show, from results.json alone: times to the target, who is ahead, how sure that is."""
