"""How a job is launched: without MPI (in this process, on threads, on Ray), or under an MPI launcher.

A run of `psgd train` passes through these functions, down to the gradient step:

    launch/command.py      main: installs signal handlers, chooses between the two launches
    launch/without_mpi.py  launch, run_without_mpi: parses, loads the data, builds the job
    launch/in_process.py   run_in_process: calls what trains it here, or on threads (on Ray actors: launch/ray.py)
    jobs/prepare.py        read_request: config and overrides -> settings -> RunRequest
    jobs/build.py          build_job: settings and data -> Job (strategy, learner, sampler, backend)
    jobs/process.py        Training.run, train_job: on each process or thread: recorder, run files, and the loop
    training/loop.py       Loop.run: rounds of local steps, exchange of reports, combination; evaluations, checkpoints
    training/steps/        host_steps.py, HostSteps.run: a segment of each hosted worker (on a GPU: device_steps.py)
    strategy/local_work.py LocalDescent.run: the worker's own parameters at the start of a round, and its steps
    learners/mlp.py        MLP.gradient and the optimizer's step; of plain SGD MLP._descend, which does both at once
    backends/numpy/        network_passes.py: forward, gradient and descend as products of matrices
"""
