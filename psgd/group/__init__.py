"""Exchange of reports and combination of contributions, over any transport."""
