"""The directory of a run and the files in it: made, locked, written, read, and whether the run may go on."""
