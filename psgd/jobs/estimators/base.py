"""What the classifier and the regressor share: parameters, fitting, the network's outputs."""

from functools import wraps
from typing import Any, Self

import numpy as np

from psgd.backends.layout import Layout
from psgd.core.errors import PsgdError
from psgd.jobs.estimators.examples import data_of
from psgd.jobs.estimators.outputs import logits
from psgd.jobs.estimators.parameters import InvalidParameter, fit_to, in_words_of_estimators, settings_of
from psgd.jobs.estimators.scikit_learn import BaseEstimator, Method, check_is_fitted, check_random_state, validate_data
from psgd.jobs.estimators.training import Trained, train_estimator
from psgd.jobs.files.summary import parameters_sha256
from psgd.training.job import Start


def takes_parts(estimator: Any) -> bool:
    """Whether `partial_fit` is there. AttributeError if it is not."""
    if estimator.early_stopping:
        raise AttributeError("early_stopping is True, which partial_fit cannot do: it sees a part of the data")
    return True


def unchanged_by_failure(method: Method) -> Method:
    """Decorate a method that fits. After one that fails or is interrupted, the estimator is as it was: the fit before
    predicts as it did, and where there was none, scikit-learn says so."""

    @wraps(method)
    def guarded(self: Any, *args: Any, **named: Any) -> Any:
        own = self.__dict__
        before = dict(own)
        try:
            return method(self, *args, **named)
        except BaseException:
            own.clear()
            own.update(before)
            raise

    return guarded  # type: ignore[return-value]


DTYPES = (np.float64, np.float32, np.uint8)  # of inputs that are not converted; bytes become floats in batches


PARAMETERS = """\
    hidden_layer_sizes: units of each hidden layer; () is a linear model.
    activation: of hidden layers; relu, sigmoid, tanh, identity.
    optimizer: adam, amsgrad, sgd, or a mapping as in a config: {"name": "adam", "beta1": 0.8, "schedule": "cosine"}.
    learning_rate: None is 0.001 for adam and amsgrad, 0.1 for sgd.
    momentum: for sgd.
    l1, l2: the objective is the mean loss + l1 ||W||_1 + l2 / 2 ||W||^2 (l2 is MLPClassifier's alpha / batch_size).
    batch_size: examples in a step of one worker; fewer if the workers' steps together would exceed an epoch.
    max_iter: epochs, that is uses of every example over all workers together.
    strategy: gradient-averaging, parameter-averaging, weighted-averaging, or a mapping as in a config.
    period: steps of each worker between two averages of parameters (None: 50), at most an epoch's.
    workers: how many take part; their number, not that of threads, determines the result.
    group: serial, threads, or auto: threads if there are several workers and their steps are long enough.
    processes: the number of threads (None: one for each worker, at most one for each core).
    speeds: of the workers, relative to the fastest, for weighted-averaging.
    precision: float32 or float64, of training.
    random_state: a number gives the same bits each time; it is the seed.
    early_stopping: hold out validation_fraction of the data, and end when their score has not improved by more than tol
        in n_iter_no_change epochs. The best parameters are kept.
    warm_start: fit goes on from the parameters of the fit before.
    verbose: show progress on standard error.

    After fitting: parameters_ (P,); coefs_ and intercepts_, views of it as MLPClassifier has them; parameters_sha256_,
    that of a run by `python -m psgd.train` with the same data, settings and seed; n_iter_, epochs; loss_curve_, the
    mean loss of each epoch without penalties; loss_; validation_scores_ with early_stopping, of each epoch: accuracy,
    or the loss times -1; n_outputs_; out_activation_; n_features_in_, feature_names_in_.
    X may be an array (bytes are not scaled), a DataFrame of numbers, or sparse rows of scipy, of which only those of a
    batch become dense; a linear model with one output does without that.
    Wrong parameters and data are a ValueError (psgd.errors.UsageError too); psgd.errors.Diverged if values are not
    finite.
    """


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A multilayer perceptron, or a linear model, trained by parallel SGD. Subclasses prepare the targets."""

    _task: str
    _losses: tuple[str, ...]  # the default first

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        loss: str | None = None,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        momentum: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        batch_size: int = 32,
        max_iter: int = 100,
        strategy: Any = "gradient-averaging",
        period: Any = None,
        workers: int = 1,
        group: str = "auto",
        processes: int | None = None,
        speeds: Any = None,
        precision: str = "float32",
        random_state: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.l1 = l1
        self.l2 = l2
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.strategy = strategy
        self.period = period
        self.workers = workers
        self.group = group
        self.processes = processes
        self.speeds = speeds
        self.precision = precision
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights (inputs, outputs) of each layer: views into `parameters_`."""
        return [W_IO for W_IO, _ in Layout(self._sizes).views(self.parameters_)]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases (outputs,) of each layer: views into `parameters_`."""
        return [b_O for _, b_O in Layout(self._sizes).views(self.parameters_)]

    @property
    def parameters_sha256_(self) -> str:
        """The SHA-256 of the parameters, equal to that of a run with the same data, settings and seed."""
        return parameters_sha256(self.parameters_)

    def _fit(self, X: Any, targets: np.ndarray, classes: int, go_on: bool) -> Self:
        """Train on checked inputs. `go_on`: from the parameters that there are."""
        start = Start(self.parameters_[None]) if go_on else None
        self._seed = self._draw_seed()
        trained = self._train(X, targets, classes, start, self.get_params(deep=False), self._seed)
        self._calls = 0
        self._state: tuple[Any, ...] | None = None  # a Start, from which partial_fit goes on, for pickles
        self.loss_curve_ = trained.losses
        self.n_iter_ = len(trained.losses)
        self.validation_scores_ = trained.scores if self.early_stopping else None
        return self._keep(trained)

    def _partial_fit(self, X: Any, targets: np.ndarray, classes: int) -> Self:
        """Train for an epoch, from where the last call ended. The moments of optimizers go on where the replica has
        them: with gradient-averaging, and with optimizer_state average."""
        first = not hasattr(self, "parameters_")
        if first:
            self._seed, self._calls, self._state = self._draw_seed(), 0, None
            self.loss_curve_, self.n_iter_ = [], 0
        else:
            self._calls += 1
        # Other examples are drawn in each call, and the first one is a fit of one epoch.
        seed = self._seed
        if self._calls:
            seed = int(np.random.SeedSequence(self._seed, spawn_key=(self._calls,)).generate_state(1)[0])
        start = None if first else Start(*(self._state or (self.parameters_[None],)))
        trained = self._train(X, targets, classes, start, {**self.get_params(deep=False), "max_iter": 1}, seed)
        self.loss_curve_ = [*self.loss_curve_, *trained.losses]
        self.n_iter_ += len(trained.losses)
        self._state = tuple(trained.end)
        return self._keep(trained)

    def _train(
        self, X: Any, targets: np.ndarray, classes: int, start: Start | None, parameters: dict[str, Any], seed: int
    ) -> Trained:
        loss = self.loss or self._losses[0]
        if loss not in self._losses:
            raise InvalidParameter(f"loss is {loss!r}; it must be one of {', '.join(self._losses)}")
        if loss == "cross-entropy" and classes == 2:
            loss = "binary-cross-entropy"  # one output, as in scikit-learn
        settings = settings_of(parameters, loss, self._task, seed)
        try:
            data = data_of(settings, X, targets, classes)
        except PsgdError as error:
            raise InvalidParameter(in_words_of_estimators(str(error))) from None
        settings = fit_to(settings, len(data.train))
        trained = train_estimator(settings, data, start, bool(self.verbose), self._sizes if start else None)
        self.out_activation_, self._activation = settings.model.output_activation, settings.model.activation
        return trained

    def _keep(self, trained: Trained) -> Self:
        self._sizes = trained.sizes
        self.parameters_ = trained.parameters
        self.n_outputs_ = trained.sizes[-1]
        self.loss_ = self.loss_curve_[-1]
        return self

    def _draw_seed(self) -> int:
        """Return `random_state` if it is a number, so that it is the seed of a run with the same bits."""
        given = self.random_state
        if isinstance(given, int | np.integer):
            return int(given)
        return int(check_random_state(given).randint(2**31 - 1))

    def _checked(self, X: Any, y: Any, reset: bool, **more: Any) -> tuple[Any, Any]:
        """Check inputs and targets as scikit-learn does. `reset`: remember the features; else they must be the same."""
        checked: tuple[Any, Any] = validate_data(
            self, X, y, accept_sparse="csr", dtype=DTYPES, reset=reset, multi_output=True, **more
        )
        return checked

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=DTYPES, reset=False)
        return logits(self.parameters_, Layout(self._sizes), self._activation, X)
