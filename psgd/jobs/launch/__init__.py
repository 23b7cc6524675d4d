"""How a job is launched: without MPI (serial, threads, Ray), under an MPI launcher; the command."""
