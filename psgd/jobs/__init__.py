"""From settings to a finished run: build a job, launch it on a group, write the run's files and its summary."""
