"""Readers and generators: each makes data sets from one kind of file or from a seed. Knows no worker and no model."""
