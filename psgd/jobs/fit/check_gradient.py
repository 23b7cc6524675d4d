"""Checks a user's gradient on one batch before training, and says what is probably wrong with it."""

from typing import final

import numpy as np

from psgd.core.errors import DataError, Diverged, UsageError
from psgd.data.user_arrays import UserArrays
from psgd.jobs.fit.slopes import LeafSlope, near, wrong_leaves
from psgd.jobs.fit.task import Task
from psgd.jobs.fit.two_threads import same_in_two_threads

_OFF = "check=False trains without this check"
_FIRST_CALL = "psgd.fit: in the first call, with the initial parameters"


def check_gradient(task: Task) -> None:
    """Call the function about ten times. Two equal calls must agree bit for bit; the gradient must be the slope of the
    loss where it is returned, and a mean over the rows; under threads, calls at the same time must not disturb each
    other. UsageError, Diverged or DataError says what does not hold."""
    with np.errstate(all="ignore"):
        check = _Check(task)
        if not check.finite():
            return
        check.repeatable()
        check.slope_and_mean()
        if task.settings.group == "threads":
            check.threads()


@final
class _Check:
    def __init__(self, task: Task) -> None:
        assert isinstance(task.data.train, UserArrays)
        self._task, self._data = task, task.data.train
        self._learner = task.learner()
        self._rows = min(task.settings.training.batch_size_per_worker, len(self._data))
        self._batch = self._take(0)
        self._again = 1  # how many times the batch is given in one call
        try:
            self._loss, self._gradient = self._call(task.start)
        except Exception as failure:
            failure.add_note(_FIRST_CALL)
            if isinstance(failure, ValueError) and "read-only" in str(failure):
                failure.add_note("psgd.fit: the parameters are read-only; return the gradient, psgd takes the step")
            for letter, array in zip("Xy", self._batch, strict=True):
                if array.dtype == object:
                    failure.add_note(
                        f"psgd.fit: {letter} of dataset holds Python objects (dtype object), as a table does whose "
                        f"columns differ in type; give numbers: {letter}.astype(float), texts encoded before"
                    )
            raise

    def finite(self) -> bool:
        """Diverged or DataError if the gradient or the loss is not finite; False if such workers are excluded."""
        values = np.append(self._gradient, 0.0 if self._loss is None else self._loss)
        if np.isfinite(values).all():
            return True
        if self._task.settings.training.on_nonfinite == "exclude":
            return False
        index = int(np.flatnonzero(~np.isfinite(values))[0])
        name = self._learner.name(index)
        what = f"the gradient of {name}" if index < self._gradient.size else name
        what = f"{what} is {values[index]} in the first call, with the initial parameters"
        for letter, array in zip("Xy", self._batch, strict=True):
            if array.dtype.kind in "fc" and not np.isfinite(array).all():
                raise DataError(f"{what}: {letter} of dataset is not finite; remove or replace such values")
        raise Diverged(f"{what}, where no learning rate helps: look for a logarithm, a root or a division by 0 in it")

    def repeatable(self) -> None:
        """UsageError unless a second call with equal arguments gives the same bits and leaves the parameters alone."""
        given = self._task.start.copy()
        loss, gradient = self._call(given)
        if given.tobytes() != self._task.start.tobytes():
            raise UsageError(f"gradient changes its argument `parameters`; return the gradient alone. {_OFF}")
        if loss == self._loss and gradient.tobytes() == self._gradient.tobytes():
            return
        if gradient.tobytes() == self._gradient.tobytes():
            what = f"loss {self._loss:.9g}, then {loss:.9g}"
        else:
            index = int(np.argmax(np.abs(gradient - self._gradient)))
            what = f"for {self._learner.name(index)} {self._gradient[index]:.9g}, then {gradient[index]:.9g}"
        raise UsageError(
            f"gradient returns two results for equal arguments ({what}): it draws random numbers, or keeps something "
            f"between calls, so that the result depends on the order of the calls. If that is meant (dropout): {_OFF}"
        )

    def slope_and_mean(self) -> None:
        """UsageError unless the gradient is the slope of the loss, and both are means over the rows."""
        growth, loss_growth = self._growth()
        if self._loss is not None:
            wrong, everywhere = wrong_leaves(self._evaluate, self._task.structure, self._task.start)
            if wrong:
                raise UsageError(self._contradiction(wrong, everywhere, growth, loss_growth))
        sums = [path for path, factor in growth.items() if factor == 2]
        if (
            self._rows > 1 and sums and (self._loss is None or loss_growth == 2)
        ):  # beside a mean loss, a fixed divisor has done no harm
            what = "gradient" if len(sums) == len(growth) else f"the gradient of {_list(sums)}"
            raise UsageError(
                f"{what} doubles if every row of the batch is given twice: it is a sum over the rows, where their mean "
                f"is meant; a step would be {self._rows} times as long as learning_rate says. Divide gradient"
                f"{' and loss' * (loss_growth == 2)} by len(X). {_OFF}"
            )

    def threads(self) -> None:
        """UsageError if a call gives another result while another thread calls the function too."""
        other = self._take(self._rows)
        X, y = (np.roll(array, 1, axis=0) if len(self._data) == self._rows else array for array in other)
        parameters = (self._task.start * 1.5 + 0.1).astype(self._task.start.dtype)
        learners = self._task.learner(), self._task.learner()
        out = np.empty_like(self._task.start), np.empty_like(self._task.start)

        def first() -> bytes:
            loss = learners[0].evaluate(self._task.start, self._batch[0].copy(), self._batch[1].copy(), out[0])
            return out[0].tobytes() + repr(loss).encode()

        def second() -> bytes:
            loss = learners[1].evaluate(parameters, X.copy(), y.copy(), out[1])
            return out[1].tobytes() + repr(loss).encode()

        if not same_in_two_threads(first, second):
            raise UsageError(
                "gradient returns another result while another thread calls it: the calls share something that it "
                "writes (an attribute such as self.activations, a global variable, an array made once). Use local "
                f"variables, or group='serial', or mpirun -n {self._task.settings.workers} python script.py. {_OFF}"
            )

    def _take(self, offset: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch of rows from all over the data, which may be sorted."""
        rows = (np.linspace(0, len(self._data) - 1, self._rows).astype(np.int64) + offset) % len(self._data)
        return self._data.X[rows], self._data.y[rows]

    def _call(self, parameters: np.ndarray) -> tuple[float | None, np.ndarray]:
        """Return (loss, gradient). The function gets copies of the batch, as in training, which it may change."""
        X, y = (np.concatenate([array] * self._again) for array in self._batch)
        out = np.empty_like(self._task.start)
        return self._learner.evaluate(parameters, X, y, out), out

    def _evaluate(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Call the function away from the given parameters, where it may fail: nan is a loss that cannot be judged."""
        try:
            loss, gradient = self._call(parameters)
        except Exception:
            return float("nan"), np.zeros_like(parameters)
        return float("nan") if loss is None else loss, gradient

    def _growth(self) -> tuple[dict[str, float | None], float | None]:
        """Return by what each leaf of the gradient, and the loss, are multiplied if every row is given twice: 1 for a
        mean, 2 for a sum; None if neither, or if the function takes no other number of rows than that of a batch."""
        leaves = self._task.structure.leaves
        self._again = 2
        try:
            loss, gradient = self._call(self._task.start)
        except Exception:
            return {leaf.path: None for leaf in leaves}, None
        finally:
            self._again = 1
        found = {leaf.path: _factor(gradient[leaf.where], self._gradient[leaf.where]) for leaf in leaves}
        if loss is None or self._loss is None:
            return found, None
        return found, _factor(np.array([loss]), np.array([self._loss]))

    def _contradiction(
        self, wrong: list[LeafSlope], everywhere: bool, growth: dict[str, float | None], loss_growth: float | None
    ) -> str:
        what = "gradient" if everywhere else f"the gradient of {_list([leaf.path for leaf in wrong])}"
        grown = {growth[path] for path in ([leaf.path for leaf in wrong] if not everywhere else growth)}
        text = f"{what} {self._reason(wrong[0], grown.pop() if len(grown) == 1 else None, loss_growth)}"
        if self._task.structure.is_number:
            text += "; or it was returned as (loss, gradient) instead of (gradient, loss)"
        return f"{text}. {_OFF}"

    def _reason(self, leaf: LeafSlope, growth: float | None, loss_growth: float | None) -> str:
        """Say what the ratio of gradient and slope means."""
        ratio, n = leaf.ratio, self._rows
        measured, predicted = f"{leaf.slope.measured:.4g}", f"{leaf.slope.predicted:.4g}"
        if leaf.slope.measured == 0:
            return (
                "is not 0, but the loss does not change with the parameters: compute both from the argument "
                "`parameters`, not from variables of your own, and return the loss itself, not a count of wrong answers"
            )
        if leaf.slope.predicted == 0:
            return f"is 0, but the loss changes with these parameters, in a random direction by {measured} a unit"
        if ratio is None:
            return (
                f"does not fit the loss: along a random direction the loss changes by {measured} a unit, and by "
                f"{predicted} according to the gradient; a term may be missing from one of them (regularisation "
                "belongs into both)"
            )
        if near(ratio, -1):
            return "has the wrong sign: it points to where the loss falls. Return the slope itself; psgd subtracts it"
        if n > 1 and near(ratio, n) and growth in (2, None):
            return (
                f"is {n} times the slope of the loss, and a batch has {n} rows: it is a sum over the rows, where the "
                f"loss is a mean, and a step would be {n} times as long as learning_rate says; divide it by len(X)"
            )
        if n > 1 and near(ratio, 1 / n) and (loss_growth in (2, None) or growth == 0.5):
            one = "the loss is a sum over them" if growth != 0.5 else "it is divided by their number once too often"
            return f"is 1/{n} of the slope of the loss, and a batch has {n} rows: {one}; both must be means"
        sign = ", with the wrong sign" if ratio < 0 else ""
        return (
            f"is {ratio:.3g} times the slope of the loss{sign} ({predicted}, not {measured}): one of them lacks a "
            "constant factor, such as the 2 of a square or the 1/2 before it, or the gradient was clipped or scaled"
        )


def _list(paths: list[str]) -> str:
    names = [f"parameters{path}" for path in paths]
    return ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)


def _factor(now: np.ndarray, before: np.ndarray) -> float | None:
    size = float(np.linalg.norm(now))
    return next((f for f in (1.0, 2.0, 0.5) if size and np.linalg.norm(now - f * before) <= 0.02 * size), None)
