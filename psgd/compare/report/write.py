"""Writes the files of a report: report.html, report.md, series.csv, and figures as SVG and PNG."""

import json
from importlib.util import find_spec
from pathlib import Path

from psgd.compare.report import png, svg, view
from psgd.compare.report.blocks import Figure
from psgd.compare.report.document import compose
from psgd.compare.report.html import Page
from psgd.compare.report.markdown import markdown
from psgd.compare.report.series_csv import table
from psgd.core.errors import DataError, StorageError
from psgd.core.files import write_text

SCHEMA = 1


def read_results(directory: Path) -> view.Results:
    """Read results.json of a comparison. DataError if it is missing, broken, of another schema or without findings."""
    path = directory / "results.json"
    try:
        results = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: give the directory of a comparison that psgd.compare made") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); run psgd.compare again") from None
    if not isinstance(results, dict) or "schema" not in results:
        raise DataError(f"{path} has no schema version: it is not of psgd.compare")
    if results["schema"] != SCHEMA:
        raise DataError(f"{path} has schema {results['schema']}; this psgd reads {SCHEMA}: use the psgd that wrote it")
    if not results.get("findings"):
        raise DataError(f"{path} has no findings yet: run psgd.compare again, which trains only what is missing")
    return results


def write_report(directory: Path, results: view.Results, times: view.Times) -> list[Path]:
    """Write all files of the report of `results` into `directory`; returns their paths. `times` prices a run, as
    psgd.compare.clock does. StorageError if a file cannot be written."""
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
    for path, figure in pictures.items():
        png.write(path, figure.panels)
    return [*written, *pictures]
