"""The table of checks, in the order in which they are shown."""

from psgd.doctor.checks import (
    clock,
    compiler,
    cores,
    data,
    files,
    gpu,
    launchers,
    limits,
    locale,
    memory,
    mpi,
    packages,
    products,
    ray_cluster,
    shared_memory,
    temporary,
)
from psgd.doctor.isolation import Check

CHECKS = (
    Check("packages", packages.check),
    Check("blas", products.check),
    Check("numba", compiler.check, 30.0),
    Check("cores", cores.check),
    Check("memory", memory.check),
    Check("/dev/shm", shared_memory.check),
    Check("mpi", mpi.check, 45.0),
    Check("launcher", launchers.check),
    Check("ray", ray_cluster.check, 40.0),
    Check("gpu", gpu.check, 30.0),
    Check("data", data.check),
    Check("files", files.check),
    Check("temporary", temporary.check),
    Check("limits", limits.check),
    Check("locale", locale.check),
    Check("clock", clock.check),
)
