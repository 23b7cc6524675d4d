"""Whether a run may be resumed: by the settings and data that its newest checkpoint was trained with."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from psgd.config.checks import validate
from psgd.config.resolve import NO_EFFECT, dump, flat, resolve
from psgd.config.settings import Settings
from psgd.core.errors import UsageError
from psgd.core.files import write_text
from psgd.data.dataset import Data
from psgd.data.fingerprint import fingerprint
from psgd.training.checkpoint_files import CheckpointFiles, Damaged

# Settings that may change when a run is resumed, because the training up to there does not depend on them.
MAY_CHANGE = NO_EFFECT | {
    "data.test_path",
    "training.epochs",
    "training.target",
    "training.early_stop",
    "training.tf32",
    "training.checkpoint_seconds",
}
# Settings that may change with the user's consent: the state of the training fits them, but it is another experiment.
WITH_CONSENT = {
    *(f"optimizer.{name}" for name in ("learning_rate", "schedule", "warmup", "decay_every", "decay_factor")),
    *(f"optimizer.{name}" for name in ("l1", "l2", "clip_norm", "nesterov", "beta1", "beta2", "epsilon")),
    *("training.epochs", "training.evaluate_every", "training.on_nonfinite"),
}
CONSENT = "--accept-changes"  # the option


class TrainedWith(NamedTuple):
    """What a run was trained with so far."""

    settings: Settings
    data: dict[str, str] | None  # fingerprints; None if there is no checkpoint
    round: int


def trained_with(directory: Path) -> TrainedWith:
    """What the run in `directory` was trained with, by its newest checkpoint or, without one, by its config.yaml.
    UsageError if the run has ended, but its checkpoints were deleted: resumed, it would begin anew."""
    files = CheckpointFiles(directory)
    for tag in files.tags():
        try:
            about = files.about(tag)["experiment"]
            return TrainedWith(validate(about["settings"])[0], about["data"], tag.round)
        except Damaged:
            continue  # reported when the checkpoint is loaded
    if (directory / "summary.json").exists():
        raise UsageError(
            f"{directory} has no checkpoint to go on from, though its run has ended; train anew in another directory, "
            "or with --overwrite instead of --resume"
        )
    return TrainedWith(resolve(str(directory / "config.yaml"), []).settings, None, 0)


def check_continues(
    directory: Path, settings: Settings, data: Data, consent: bool, fingerprints: Mapping[str, str] | None = None
) -> list[str]:
    """Return how `settings` and `data` differ from those that the run in `directory` was trained with, in words.
    `fingerprints`: by name, of what else must be the same. UsageError if they differ in what cannot be changed,
    or the user has not consented."""
    before = trained_with(directory)
    old, new = flat(before.settings), flat(settings)
    free = set(MAY_CHANGE)
    if settings.optimizer.schedule == "cosine" or (settings.averaging and settings.averaging.period == "end"):
        free.discard("training.epochs")  # all of the training depends on the number of epochs
    keys = [key for key in sorted(old.keys() | new.keys()) if key not in free and old.get(key) != new.get(key)]
    changes = [f"{key}: {old.get(key)!r} there, {new.get(key)!r} here" for key in keys]
    fingerprints, others = fingerprints or {}, False
    if before.data is not None:
        now = {**fingerprint(data), **fingerprints}
        parts = [name for name in sorted(before.data.keys() | now.keys()) if before.data.get(name) != now.get(name)]
        changes += [f"the {name}{'' if name in fingerprints else ' data'}: they are not the same" for name in parts]
        others = any(name in fingerprints for name in parts)
    if not changes:
        return []
    possible = all(key in WITH_CONSENT for key in keys) and not others
    if not (possible and consent):
        advice = f"to go on with these from here on, add {CONSENT}" if possible else "start a new run for these"
        raise UsageError(
            f"{directory} was begun by another experiment and cannot be resumed by this one: {'; '.join(changes)}. "
            f"{advice[0].upper()}{advice[1:]}"
        )
    kept = directory / f"config.until-round-{before.round}.yaml"
    if not kept.exists():
        write_text(kept, dump(before.settings))
    return [f"warning: from here on, the run has other settings or data; {kept.name} has those before", *changes]


def keep_metrics(directory: Path) -> str | None:
    """Rename the metrics of a run that was stopped before its first checkpoint and begins anew; a note on that."""
    metrics = directory / "metrics.jsonl"
    if CheckpointFiles(directory).tags() or not metrics.exists() or not metrics.stat().st_size:
        return None
    number = next(n for n in range(1, 10**9) if not (directory / f"metrics.before-{n}.jsonl").exists())
    kept = metrics.rename(directory / f"metrics.before-{number}.jsonl")
    return f"the metrics of the run so far, which has no checkpoint, are kept in {kept.name}"
