"""From YAML and the command line to typed settings. The first process reads them; the others receive the result."""
