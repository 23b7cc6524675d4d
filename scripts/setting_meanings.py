"""What each setting means, and its unit: for docs/settings.md and the JSON Schema. What it may be: settings.py."""

from typing import NamedTuple


class Meaning(NamedTuple):
    text: str
    unit: str = ""


def _of(section: str, **meanings: str | tuple[str, str]) -> dict[str, Meaning]:
    prefix = f"{section}." if section else ""
    return {
        f"{prefix}{key}": Meaning(*((given,) if isinstance(given, str) else given)) for key, given in meanings.items()
    }


MEANINGS = {
    **_of(
        "",
        data="Where the examples come from, and how workers draw them.",
        model="The network.",
        optimizer="The update rule of a step.",
        strategy="How workers are combined.",
        training="How long, in what steps, and what is saved.",
        workers="How many workers there are. This is part of the experiment, unlike the number of processes; auto is "
        "one for each process or core, so that the experiment depends on the machine.",
        group="What the workers run on. auto: mpi under a launcher, else threads, or one process where threads would "
        "be slower.",
        device="What takes the steps: the CPU, or NVIDIA GPUs (cuda; extras gpu, gpu12). auto: a GPU where there are "
        "one and CuPy, else the CPU. On Ray, those of its machines.",
        compile="Whether numba compiles the inner loops; auto: if the run is long enough. It changes no bit.",
        record="Where metrics go besides metrics.jsonl (extras tensorboard, mlflow). It changes no bit.",
        cluster="The machines.",
        output="The directory of the run; a number is added to its name.",
    ),
    **_of(
        "data",
        source="The data set: digits are embedded, mnist and idx are IDX files; csv, npz and libsvm are files of "
        "your own; synthetic, synthetic-sparse and linear are generated.",
        path="The file or directory. null: $PSGD_DATA/SOURCE, then the user's cache; mnist is downloaded if it is in "
        "neither.",
        mode="shuffle uses each example once an epoch; partition gives each worker a shard of its own; replacement "
        "draws with replacement.",
        validation=(
            "The part of the training data that is set aside for validation. 0 becomes 0.05 where a contraction is "
            "chosen on it (holdout, with unequal speeds).",
            "share",
        ),
        task="Whether the targets are classes or numbers.",
        train_rows=("How many rows train; the others test.", "examples"),
        test_path="The file of the test data. null: none, or what train_rows leaves.",
        target="The column that is to be learnt.",
        columns="The columns that are inputs. null: all but the target.",
        categorical="The columns of numbers that are categories; columns of text always are.",
        categories="One input for each column of categories, or a 0/1 input for each category.",
        labels="The classes in their order; a name such as none or NA is one, not a missing value. null: those found.",
        separator="What stands between two fields of a row.",
        decimal="What stands before the decimals of a number, in which no other mark may stand.",
        scale="What inputs are multiplied by. null: 1/255 for bytes, else 1.",
        window=(
            "How many consecutive examples are shuffled among each other, for files larger than memory. null: all.",
            "examples",
        ),
        features="How many inputs an example has. null: as many as the file.",
        zero_based="Whether the index of the first feature is 0, not 1.",
        unit_length="Whether each example is scaled to length 1.",
        examples=("How many are generated for training; a sixth as many for testing.", "examples"),
        classes="How many classes there are; 0 for regression.",
        active="How many features of an example are not 0.",
        slope="The slope of the line.",
        intercept="The value of the line at 0.",
        noise="The standard deviation of the noise on the targets.",
        seed="The number from which the data are generated.",
    ),
    **_of(
        "model",
        hidden="The units of each hidden layer; [] is a linear model.",
        activation="The activation of the hidden layers.",
        output="The activation of the last layer. null: the one that the loss expects.",
        loss="What is minimised. squared-error: half the sum over outputs; all are means over examples.",
        huber_threshold="Where the Huber loss turns from a parabola to a line; with csv, in standard deviations of the "
        "target.",
        initializer="How initial weights are drawn: xavier and he by the size of a layer, normal from N(0, 1).",
        constant="The value that initializer: constant gives to all weights and biases.",
    ),
    **_of(
        "optimizer",
        name="The update rule.",
        learning_rate="The length of a step.",
        l1="The weight of the sum of the absolute values of all weights, added to the loss; not of biases.",
        l2="The weight of half the sum of the squares of all weights, added to the loss; not of biases.",
        clip_norm="Gradients that are longer are shortened to this length.",
        schedule="How the learning rate falls: not at all, in steps, or along a cosine to 0 at the end.",
        warmup=("How long the learning rate rises from 0, at the beginning.", "epochs"),
        decay_every=("The training between two falls, with schedule: step.", "epochs"),
        decay_factor="What the learning rate is multiplied by at each fall, with schedule: step.",
        momentum="What remains of the momentum buffer after a step.",
        nesterov="Whether the momentum is Nesterov's.",
        beta1="What remains of the first moments after a step.",
        beta2="What remains of the second moments after a step.",
        epsilon="What is added to the root of the second moments.",
    ),
    **_of(
        "strategy",
        name="gradient-averaging averages the gradients of each step; parameter-averaging the parameters, after a "
        "period of steps; weighted-averaging too, with steps and weights that follow the workers' speeds.",
        period=("How many the fastest worker takes between two combinations; end: there is one, at the end.", "steps"),
        optimizer_state="What becomes of each worker's moments when parameters are averaged.",
        outer="An optimizer that takes a step towards the average, in place of the average itself; {} is DiLoCo's.",
        contraction="r: a worker that is d steps behind has a weight in proportion to r^d. holdout: chosen on "
        "validation data, whose scores that flatters; auto: 1 - learning rate * l2.",
    ),
    **_of(
        "training",
        epochs=("How often each training example is used; training ends with the round that gets there.", "epochs"),
        batch_size_per_worker=("How many examples one step of one worker uses.", "examples"),
        seed="The number from which initial weights, batches and validation data are drawn.",
        precision="The floating-point numbers of all arithmetic.",
        tf32="Whether a GPU may round what it multiplies to TF32, 10 bits after the point: faster, less precise. "
        "The CPU never does.",
        evaluate_every=("The training between two evaluations; there is one at the end, too.", "epochs"),
        target="The accuracy, or the loss where there are no classes (with csv, of the standardised target), at which "
        "training ends; on validation data if there are any, else on test data.",
        early_stop="Ends training when validation data show no improvement; the best evaluation is the result.",
        on_nonfinite="What happens if a worker is not finite: the job stops, or the worker is left out of the round.",
        checkpoint_seconds=("The training between two checkpoints; 0: one at every exchange of reports.", "seconds"),
    ),
    **_of(
        "strategy.outer",
        learning_rate="The length of the step; 1: all the way to the average, without momentum.",
        momentum="What remains of the momentum buffer after a round.",
        nesterov="Whether the momentum is Nesterov's.",
    ),
    **_of(
        "training.early_stop",
        patience=("After so many in a row without an improvement, training ends.", "evaluations"),
        minimum="What counts as an improvement: to exceed the best validation accuracy (or to undercut the best "
        "loss, where there are no classes; with csv, of the standardised target) by more than this.",
    ),
    **_of(
        "cluster",
        speeds="The workers' speeds, relative to the fastest; weighted-averaging alone follows them. null: equal ones.",
        patience=("How long to wait for another process before the job ends.", "seconds"),
        processes="How many threads or Ray actors there are. null: one for each worker, as far as there are cores, "
        "and on Ray, if it has any, GPUs.",
    ),
}  # fmt: skip
