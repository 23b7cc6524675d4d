"""How workers meet and combine, over any transport."""
