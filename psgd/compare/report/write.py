"""Writes the files of a report: report.html, report.md, series.csv, and figures as SVG and PNG."""

from importlib.util import find_spec
from pathlib import Path

from psgd.compare.report import png, svg, view
from psgd.compare.report.blocks import Figure
from psgd.compare.report.document import compose
from psgd.compare.report.html import Page
from psgd.compare.report.markdown import markdown
from psgd.compare.report.series_csv import table
from psgd.core.errors import StorageError, UsageError
from psgd.core.files import write_text
from psgd.core.log import LOG


def write_report(directory: Path, results: view.Results, times: view.Times) -> list[Path]:
    """Write all files of the report of `results` into `directory`; returns their paths. `times` prices a run, as
    psgd.compare.modelled.clock does. StorageError if a file cannot be written."""
    results = view.completed(results)
    document = compose(results, times)
    written = {
        directory / "report.html": Page(document, results["arms"], results["reference"]).text(),
        directory / "report.md": markdown(document),
        directory / "series.csv": table(results, times),
    }
    figures = [block for section in document.sections for block in section.blocks if isinstance(block, Figure)]
    try:
        (directory / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {directory / 'figures'}: {error.strerror}") from None
    for figure in figures:
        written[directory / "figures" / f"{figure.name}.svg"] = svg.file(figure.panels)
    for path, text in written.items():
        write_text(path, text)
    if find_spec("matplotlib") is None:
        return list(written)
    pictures = {directory / "figures" / f"{figure.name}.png": figure for figure in figures}
    try:
        for path, figure in pictures.items():
            png.write(path, figure.panels)
    except UsageError as error:  # the comparison may have taken hours
        LOG.warning("psgd: the report has no figures as PNG: %s", error)
        return list(written)
    return [*written, *pictures]
