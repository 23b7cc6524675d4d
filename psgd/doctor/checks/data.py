"""Data sets: PSGD_DATA and what is there, and MNIST, which is downloaded where it is missing."""

import os
from pathlib import Path

from psgd.core.errors import DataError
from psgd.core.wording import data_size
from psgd.doctor.finding import Finding, note, ok, wrong

_SHOWN = 8  # directories


def check() -> list[Finding]:
    from psgd.data.sources.load import default_places

    return [judge_variable(os.environ.get("PSGD_DATA")), judge_mnist(default_places("mnist"))]


def judge_variable(given: str | None) -> Finding:
    """`given`: the value of PSGD_DATA."""
    if not given:
        return ok("data", "PSGD_DATA is not set: data are looked for in data.path and the user's cache")
    try:
        there = sorted(each.name for each in Path(given).iterdir() if each.is_dir())
    except OSError as error:
        return wrong(
            "data", f"PSGD_DATA={given}: {error.strerror}", "set it to the directory above your data, or unset it"
        )
    text = ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
    if not there:
        return note("data", f"PSGD_DATA={given} has no directories", "data.source mnist needs one called mnist there")
    return ok("data", f"PSGD_DATA={given} has {text}", directories=there)


def judge_mnist(places: list[Path]) -> Finding:
    """`places`: the directories where MNIST is looked for."""
    from psgd.data.sources.download import REMOTES
    from psgd.data.sources.idx import find_files

    files = REMOTES["mnist"].files
    if there := [place for place in places if place.is_dir()]:
        try:
            find_files(there[0])
        except DataError as error:
            return wrong("data", f"mnist: {error}")
        return ok("data", f"mnist: {there[0]}")
    if not places:
        return note("data", "there is no home directory for downloads", "set XDG_CACHE_HOME or PSGD_DATA")
    total = data_size(sum(file.size for file in files.values()))
    text = f"mnist is not here: the first run that uses it downloads {total} to {places[-1]}"
    return note("data", text, "without a network, copy its four files there")
