"""Says what to write for an argument that `psgd.fit` does not have."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from psgd.config.names import SECTIONS, homes
from psgd.jobs.fit.settings import REGULARISATION, argument_of

# Names that have no counterpart among the arguments -> what to say.
_ABSENT = {
    **dict.fromkeys(("l1", "l2"), REGULARISATION),
    **dict.fromkeys(("X", "x", "y", "data"), "the data are one argument, dataset=(X, y)"),
    **dict.fromkeys(
        ("target", "early_stop", "early_stopping", "patience", "tol"), "training ends where callback returns True"
    ),
    **dict.fromkeys(("verbose", "quiet"), "progress=True shows the loss"),
    "precision": "it is the dtype of the parameters",
}
_MAPPINGS = {"optimizer": "sgd", "strategy": "weighted-averaging"}  # arguments that take settings -> their defaults


def misplaced(arguments: Sequence[str], placed: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return what to write in place of the first of the `named` arguments that is none of the `arguments` of psgd.fit,
    as the end of a sentence; `placed`: those given without a name."""
    name = next((name for name in named if name not in arguments), None)
    if name is None:
        return f"; {_ABSENT['X']}" if len(placed) > 3 else ""
    settings = [home.partition(" ")[0] for home in homes(None, name)]
    for known in (name, *(setting.rpartition(".")[2] for setting in settings)):
        if known in _ABSENT:
            return f"; {_ABSENT[known]}"
    for setting in settings:
        if (argument := argument_of(setting)) in arguments:
            return f"; did you mean {argument}?"
    own = [setting for setting in settings if setting.partition(".")[0] in _MAPPINGS]
    if not own:
        if close := difflib.get_close_matches(name, arguments, 1):
            return f"; did you mean {close[0]}?"
        keys = {key: f"{section}.{key}" for section in _MAPPINGS for key in SECTIONS[section].all_keys()}
        own = [keys[key] for key in difflib.get_close_matches(name, keys, 1, 0.75)]
    return f"; {_mapping(own[0], named[name], named)}" if own else "; help(psgd.fit) lists those that there are"


def _mapping(setting: str, value: Any, named: Mapping[str, Any]) -> str:
    """Say of which choice a setting of the optimizer or the strategy is, and how it is given, beside what is already
    among the `named` arguments."""
    section, _, key = setting.partition(".")
    given = named.get(section, _MAPPINGS[section])
    chosen = dict(given) if isinstance(given, Mapping) else {"name": given}
    owners = SECTIONS[section].choices_with(key)
    if chosen.setdefault("name", _MAPPINGS[section]) not in owners:
        chosen = {"name": owners[0]}
    return f"it is a setting of {chosen['name']}: {section}={chosen | {key: value}}"
