"""The settings of a job as pydantic models: names, types, ranges and defaults. Rules between settings are in checks.py.

Error messages quote a field's description after "it must be".
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from psgd.config.value_types import (
    Activation,
    Classes,
    Count,
    Flag,
    Fraction,
    Initializer,
    Limit,
    Names,
    Natural,
    NotNegative,
    OptionalCount,
    Path,
    Positive,
    Processes,
    Share,
    Text,
    Trackers,
    Workers,
    different,
)


class Section(BaseModel):
    """One mapping of settings. Strict: '5' is not a number, true is not 1, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def replace(self, **values: Any) -> Self:
        """Return a copy with other values, which are not checked. TypeError for a name that is no setting here."""
        if unknown := values.keys() - type(self).model_fields.keys():
            raise TypeError(f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}")
        return self.model_copy(update=values)


class Source(Section):
    """The settings of every data source."""

    path: Path = None
    mode: Literal["shuffle", "partition", "replacement"] = "shuffle"
    validation: Fraction = 0.0


class Digits(Source):
    source: Literal["digits"] = "digits"
    path: Annotated[None, Field(description="null (digits are part of psgd)")] = None


class Mnist(Source):
    source: Literal["mnist"] = "mnist"


class Idx(Source):
    source: Literal["idx"] = "idx"


class File(Source):
    """A file of the user's. A relative `path` is looked for in the working directory, $PSGD_DATA and the cache."""

    task: Literal["classification", "regression"] = "classification"
    train_rows: OptionalCount = None


class Csv(File):
    source: Literal["csv"] = "csv"
    test_path: Path = None
    target: Annotated[Text | None, Field(description="the name of a column")] = None
    columns: Names | None = Field(
        default=None, min_length=1, description="a list of different columns, or null (all but the target)"
    )
    categorical: Names = Field(default_factory=list, description="a list of different columns")
    categories: Literal["codes", "one-hot"] = "codes"
    labels: Annotated[list[Text | int], AfterValidator(different)] | None = Field(
        default=None, min_length=2, description="a list of two different labels or more, or null (those found)"
    )
    separator: Literal["comma", "semicolon", "tab", "spaces"] = "comma"
    decimal: Literal["point", "comma"] = "point"


class Npz(File):
    source: Literal["npz"] = "npz"
    scale: Limit = None  # null: 1/255 for bytes, else 1
    # How many consecutive examples are shuffled among each other; null: all.
    window: OptionalCount = None


class Libsvm(File):
    source: Literal["libsvm"] = "libsvm"
    test_path: Path = None
    features: Annotated[Count | None, Field(description="a whole number greater than 0, or null (those found)")] = None
    zero_based: Flag = False  # the first feature's index is 0, not 1
    unit_length: Flag = False  # scale each example to length 1


class Synthetic(Source):
    source: Literal["synthetic"] = "synthetic"
    path: Annotated[None, Field(description="null (synthetic data are made, not read)")] = None
    examples: Count = 6000
    features: Count = 1000
    classes: Classes = 10
    seed: Natural = 0


class SyntheticSparse(Source):
    source: Literal["synthetic-sparse"] = "synthetic-sparse"
    path: Annotated[None, Field(description="null (synthetic data are made, not read)")] = None
    examples: Count = 10000
    features: Count = 262144
    active: Count = 300  # nonzero features of each example
    classes: Annotated[Literal[0, 2], Field(description="2, or 0 for regression on -1 and 1")] = 2
    unit_length: Flag = True  # scale each example to length 1; else its nonzero features are 1
    seed: Natural = 0


class Linear(Source):
    source: Literal["linear"] = "linear"
    path: Annotated[None, Field(description="null (linear data are made, not read)")] = None
    examples: Count = 2000
    slope: Annotated[float, Field(description="a number")] = 2.5
    intercept: Annotated[float, Field(description="a number")] = 1.0
    noise: NotNegative = 0.1
    seed: Natural = 0


class Own(Source):
    """The data of a call of `psgd.fit`, which only the script that calls it has."""

    source: Literal["psgd.fit"] = "psgd.fit"
    path: Annotated[None, Field(description="null (the data of psgd.fit are arrays)")] = None


class Model(Section):
    hidden: list[Count] = Field(
        default_factory=lambda: [64], description="a list of whole numbers greater than 0, or [] for a linear model"
    )
    activation: Activation = "relu"
    output: Literal["identity", "sigmoid", "tanh", "softmax", "relu"] | None = None  # null: what the loss expects
    loss: Literal["squared-error", "binary-cross-entropy", "cross-entropy", "hinge", "huber"] = "cross-entropy"
    huber_threshold: Positive = 1.0
    initializer: Initializer = "xavier"
    constant: Annotated[float, Field(description="a number")] = 0.0

    @property
    def output_activation(self) -> str:
        """`output`, once the settings have been resolved."""
        assert self.output is not None
        return self.output


class Optimizer(Section):
    """The settings of every optimizer; `warmup` and `decay_every` are in epochs."""

    learning_rate: Positive = 0.001
    l1: NotNegative = 0.0
    l2: NotNegative = 0.0
    clip_norm: Limit = None
    schedule: Literal["constant", "step", "cosine"] = "constant"
    warmup: NotNegative = 0.0
    decay_every: Positive = 10.0
    decay_factor: Share = 0.1


class Sgd(Optimizer):
    name: Literal["sgd"] = "sgd"
    learning_rate: Positive = 0.1
    momentum: Fraction = 0.0
    nesterov: Flag = False


class Adam(Optimizer):
    name: Literal["adam", "amsgrad"] = "adam"
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8


class GradientAveraging(Section):
    name: Literal["gradient-averaging"] = "gradient-averaging"


class Outer(Section):
    """The outer optimizer of an average; the defaults are DiLoCo's."""

    learning_rate: Positive = 0.7
    momentum: Fraction = 0.9
    nesterov: Flag = True  # of no effect without momentum


class Averaging(Section):
    """The settings of the strategies that average parameters."""

    period: Annotated[Count | Literal["end"], Field(description="a whole number greater than 0, or end")] = 50
    optimizer_state: Literal["keep", "average", "reset"] = "keep"
    outer: Outer | None = Field(
        default=None, description="a mapping such as {learning_rate: 0.7, momentum: 0.9}, or null"
    )


class ParameterAveraging(Averaging):
    name: Literal["parameter-averaging"] = "parameter-averaging"


class WeightedAveraging(Averaging):
    name: Literal["weighted-averaging"] = "weighted-averaging"
    contraction: Share | Literal["holdout", "auto"] = Field(
        default="holdout", description="a number greater than 0 and at most 1, or holdout, or auto"
    )


class EarlyStop(Section):
    patience: Count = 5  # evaluations in a row without an improvement, after which training ends
    minimum: NotNegative = 0.0  # an improvement exceeds the best score so far by more than this


class Training(Section):
    """`epochs` and `evaluate_every` are numbers of epochs and may be fractions."""

    epochs: Positive = 50.0
    batch_size_per_worker: Count = 10
    seed: Natural = 0
    precision: Literal["float32", "float64"] = "float32"
    tf32: Flag = False  # a GPU may round the inputs of products to TF32
    evaluate_every: Positive = 1.0
    target: float | None = Field(default=None, description="a number (an accuracy, or a loss in regression), or null")
    early_stop: EarlyStop | None = Field(
        default=None, description="a mapping such as {patience: 5, minimum: 0.0}, or null"
    )
    on_nonfinite: Literal["stop", "exclude"] = "stop"
    checkpoint_seconds: NotNegative = 60.0  # between checkpoints; 0: at every exchange of reports


class Cluster(Section):
    speeds: list[Share] | None = Field(
        default=None, min_length=1, description="a list of numbers greater than 0 and at most 1, one a worker, or null"
    )
    patience: Positive = 300.0  # seconds
    processes: Annotated[Processes | None, Field(description="a whole number greater than 0, or null")] = None

    @property
    def unequal(self) -> bool:
        """Whether some worker is slower than another."""
        return self.speeds is not None and any(speed != 1 for speed in self.speeds)


AnySource = Digits | Mnist | Idx | Csv | Npz | Libsvm | Synthetic | SyntheticSparse | Linear | Own


class Settings(Section):
    """All settings of a job. The command replaces `workers: auto` and `group: auto`, which depend on the machine."""

    data: AnySource = Field(default=Digits(), discriminator="source")
    model: Model = Model()
    optimizer: Sgd | Adam = Field(default=Adam(), discriminator="name")
    strategy: GradientAveraging | ParameterAveraging | WeightedAveraging = Field(
        default=WeightedAveraging(), discriminator="name"
    )
    training: Training = Training()
    workers: Annotated[Workers | Literal["auto"], Field(description="a whole number greater than 0, or auto")] = 4
    group: Literal["auto", "serial", "threads", "mpi", "ray"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: Literal["auto", "always", "never"] = "auto"
    cluster: Cluster = Cluster()
    record: Trackers = Field(default_factory=list, description="a list of different ones of tensorboard, mlflow")
    output: Text = "runs/run"

    @property
    def worker_count(self) -> int:
        """`workers`, once `auto` has been replaced."""
        assert self.workers != "auto"
        return self.workers

    @property
    def averaging(self) -> Averaging | None:
        """The strategy, if it is one that averages parameters."""
        return self.strategy if isinstance(self.strategy, Averaging) else None
