"""From settings to a finished run: build, launch, train, write the files of the run."""
