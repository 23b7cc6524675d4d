"""The report of a comparison: one page, its text and its figures, from results.json alone."""
