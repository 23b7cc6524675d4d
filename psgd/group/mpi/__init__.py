"""The group of MPI processes: the MPI library, the processes that a launcher started, and the transports."""
