"""How a job is launched: alone (serial, threads), under an MPI launcher, on Ray."""
