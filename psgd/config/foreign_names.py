"""What settings and values are called elsewhere: in other trainers, in libraries and in papers."""

# Where a setting of other trainers, libraries and papers is found here, for names without hyphens in lower case.
FOREIGN = {
    **dict.fromkeys(("lr", "eta", "eta0", "learning_rate_init", "base_lr"), "optimizer.learning_rate"),
    **dict.fromkeys(("weight_decay", "alpha", "lambda", "reg", "regularization"), "optimizer.l2"),
    **dict.fromkeys(("clip", "clipnorm", "grad_clip", "max_grad_norm", "max_norm"), "optimizer.clip_norm"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), "optimizer.schedule"),
    **dict.fromkeys(("gamma", "decay", "lr_decay"), "optimizer.decay_factor"),
    **dict.fromkeys(("betas", "beta_1"), "optimizer.beta1"),
    **dict.fromkeys(("solver", "algorithm"), "optimizer.name"),
    "beta_2": "optimizer.beta2",
    "eps": "optimizer.epsilon",
    "step_size": "optimizer.decay_every",
    "warmup_steps": "optimizer.warmup",
    "nesterovs_momentum": "optimizer.nesterov",
    **dict.fromkeys(("batch", "batch_size", "batchsize", "minibatch", "bs"), "training.batch_size_per_worker"),
    **dict.fromkeys(("max_iter", "max_epochs", "num_epochs", "n_epochs", "steps", "max_steps"), "training.epochs"),
    **dict.fromkeys(("random_state", "random_seed"), "training.seed"),
    "dtype": "training.precision",
    **dict.fromkeys(("layers", "hidden_layer_sizes", "layer_sizes", "units", "hidden_size"), "model.hidden"),
    **dict.fromkeys(("criterion", "loss_fn", "loss_function", "objective"), "model.loss"),
    **dict.fromkeys(("init", "kernel_initializer"), "model.initializer"),
    **dict.fromkeys(("tau", "h", "k", "local_steps", "local_epochs", "sync_every", "frequency"), "strategy.period"),
    "method": "strategy.name",
    **dict.fromkeys(("outer_optimizer", "outer_lr", "outer_momentum", "slow_momentum", "slowmo"), "strategy.outer"),
    **dict.fromkeys(("dataset", "data.name"), "data.source"),
    **dict.fromkeys(("file", "filename"), "data.path"),
    **dict.fromkeys(("label", "target_column"), "data.target"),
    **dict.fromkeys(("sep", "delimiter"), "data.separator"),
    **dict.fromkeys(("test_size", "validation_split", "validation_fraction", "val_split"), "data.validation"),
    "shuffle": "data.mode",
    **dict.fromkeys(("n", "np", "n_jobs", "nproc", "num_workers", "n_workers", "world_size"), "workers"),
    **dict.fromkeys(("backend", "distributed"), "group"),
    **dict.fromkeys(("save_dir", "output_dir", "out", "logdir", "checkpoint_dir"), "output"),
}
_EARLY_STOP = "; did you mean training.early_stop, such as {patience: 5}?"
# What to say of a setting that has no counterpart here.
ABSENT = {
    **dict.fromkeys(("early_stopping", "tol", "n_iter_no_change", "min_delta"), _EARLY_STOP),
    "patience": f"{_EARLY_STOP} (cluster.patience: seconds of waiting for a process)",
    **dict.fromkeys(("dropout", "batch_norm"), "; there is none; optimizer.l2 regularises"),
    **dict.fromkeys(("verbose", "quiet", "silent"), "; leave it out; --quiet prints less"),
}
# Values that others use -> values here. A setting that knows none of them suggests nothing: a gpu is no cpu.
SYNONYMS = {
    **dict.fromkeys(
        (
            "zinkevich",
            "simuparallel",
            "simuparallelsgd",
            "local-sgd",
            "localsgd",
            "post-local-sgd",
            "model-averaging",
            "fedavg",
        ),
        ("parameter-averaging",),
    ),
    **dict.fromkeys(("wp-sgd", "wpsgd", "cheng"), ("weighted-averaging",)),
    **dict.fromkeys(
        ("sync", "synchronous", "sync-sgd", "allreduce", "all-reduce", "ddp", "data-parallel"), ("gradient-averaging",)
    ),
    **dict.fromkeys(("momentum", "nesterov"), ("sgd",)),
    **dict.fromkeys(("adamw", "rmsprop", "adagrad"), ("adam",)),
    **dict.fromkeys(("mse", "l2", "mean-squared-error", "quadratic"), ("squared-error",)),
    **dict.fromkeys(("bce", "binary-crossentropy", "log-loss"), ("binary-cross-entropy",)),
    **dict.fromkeys(("ce", "nll", "softmax", "categorical-crossentropy"), ("cross-entropy",)),
    "sparse-categorical-crossentropy": ("cross-entropy",),
    "smooth-l1": ("huber",),
    "logistic": ("sigmoid", "binary-cross-entropy"),
    "linear": ("identity",),
    **dict.fromkeys(("glorot-uniform", "glorot-normal"), ("xavier",)),
    **dict.fromkeys(("kaiming", "he-normal"), ("he",)),
    **dict.fromkeys(("double", "fp64"), ("float64",)),
    **dict.fromkeys(("single", "fp32"), ("float32",)),
    **dict.fromkeys(("openmpi", "mpich", "mpirun"), ("mpi",)),
    **dict.fromkeys(("multiprocessing", "threading", "processes", "process"), ("threads",)),
    "local": ("serial",),
    **dict.fromkeys(("gpu", "cuda"), ("cuda",)),
}
