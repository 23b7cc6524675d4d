"""The report of a comparison: what it says, that it is complete without a script or a network, and its other forms."""

import csv
import io
import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import compare_results
import pytest
from compare_results import Parts, network, results, times

import psgd.compare.report.write as write
from psgd.compare import numbers
from psgd.compare.numbers import NONE
from psgd.compare.report import axes, bands, networks, setup, svg, view
from psgd.compare.report.blocks import Sliders
from psgd.compare.report.document import compose
from psgd.compare.report.html import Page
from psgd.compare.report.markdown import escaped
from psgd.compare.report.panels import Axis
from psgd.compare.results_file import read_results
from psgd.core.errors import DataError
from psgd.report import main

VOID = {"meta", "input", "br", "link", "img"}
EVIL = '<script>alert("1")</script> & a | b [c](d) `e` *f*'


class Checked(HTMLParser):
    """Collects the elements of a page, and checks that each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(text)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.elements if each == tag]


def page_of(found: dict[str, Any]) -> str:
    found = view.completed(found)
    return Page(compose(found, times), found["arms"], found["reference"]).text()


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(results())


@pytest.fixture
def without_png(monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.seconds(0.000123), "123 µs"),
        (numbers.seconds(0.0999), "99.9 ms"),
        (numbers.seconds(12.345), "12.3 s"),
        (numbers.seconds(119.96), "120 s"),
        (numbers.seconds(185), "3.08 min"),
        (numbers.seconds(7200), "2.00 h"),
        (numbers.seconds(0), "0 s"),
        (numbers.seconds(None), NONE),
        (numbers.data_size(210_600), "211 kB"),
        (numbers.data_size(1_500_000_000), "1.50 GB"),
        (numbers.data_size(12), "12 B"),
        (numbers.bandwidth(3.4e8, 2), "340 Mbit/s"),
        (numbers.digits(0.0440, 3), "0.0440"),
        (numbers.digits(9.996, 3), "10.0"),
        (numbers.digits(math.nan), NONE),
        (numbers.digits(2.5e9, 2), "2.5e+09"),
        (numbers.count(1234567), "1\u202f234\u202f567"),
    ],
)
def test_numbers_have_few_digits_and_a_unit(text, expected):
    assert text == expected


def test_ticks_are_round_numbers_within_the_axis():
    assert [v for v, _ in axes.ticks(Axis("", "linear", 0.0, 204.0))] == [0, 50, 100, 150, 200]
    assert [label for _, label in axes.ticks(Axis("", "log", 0.9, 1200.0))] == ["1", "10", "100", "1000"]
    assert [label for _, label in axes.ticks(Axis("", "ones", 0.7, 0.96))] == ["0.8", "0.9", "0.95"]
    assert axes.decades([1.0, 10.0, 100.0, 1000.0], 2) == [(1.0, 0.0), (100.0, 2.0)]


def test_an_axis_places_its_ends_at_0_and_1_and_equal_ratios_equally():
    log = Axis("", "log", 1.0, 100.0)
    assert [axes.fraction_along(log, v) for v in (1.0, 10.0, 100.0)] == pytest.approx([0, 0.5, 1])
    ones = Axis("", "ones", 0.0, 0.99)  # distances to 1 of 1, 0.1, 0.01
    assert [axes.fraction_along(ones, v) for v in (0.0, 0.9, 0.99)] == pytest.approx([0, 0.5, 1])


def test_an_axis_is_logarithmic_only_where_lines_end_far_apart():
    assert axes.axis_of("", [1.0, 200.0], [150.0, 200.0]).kind == "linear"
    assert axes.axis_of("", [1.0, 200.0], [2.0, 200.0]).kind == "log"


def test_a_run_that_diverged_counts_as_the_worst_and_the_band_is_of_the_others():
    runs = [[0.5, 0.8], [0.6, 0.9], [0.7]]
    first, second = bands.points(runs, higher=True)
    assert first == bands.Point(0, 3, 0.6, 0.5, 0.7)
    assert second == bands.Point(1, 2, 0.8, 0.8, 0.9)  # of -inf, 0.8, 0.9
    assert bands.points(runs, higher=False)[1].median == 0.9  # of 0.8, 0.9, inf
    assert [p.at for p in bands.points([[0.5, 0.8], [0.6], [math.nan]], higher=True)] == [0]  # most are gone


def test_thinning_keeps_the_last_point():
    points = bands.points([[i / 100 for i in range(100)]], higher=True)
    assert [p.at for p in bands.thinned(points, 10)] == [9, 19, 29, 39, 49, 59, 69, 79, 89, 99]
    assert bands.thinned(points[:5], 10) == points[:5]


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    parsed = Checked(page)
    assert len(page.encode()) <= 1_000_000
    assert not [a for tag, a in parsed.elements if {"src", "srcset", "onclick"} & a.keys() or tag in ("link", "iframe")]
    assert all(str(a["href"]).startswith("#") for tag, a in parsed.elements if "href" in a)
    assert "http" not in page.replace('http-equiv="Content', "")
    assert "url(http" not in page
    assert "@import" not in page
    ids = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    used = {str(a["href"])[1:] for a in parsed.all("use") + parsed.all("a")}
    assert used <= set(ids)


def test_the_script_is_small_and_is_the_only_one_that_may_run(page):
    assert len(re.findall("<script>(.*?)</script>", page, re.DOTALL)[0]) < 6000
    assert "default-src 'none'" in page
    assert "script-src 'sha256-" in page


def test_tables_and_pictures_are_accessible(page):
    parsed = Checked(page)
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in parsed.all("th"))
    pictures = [a for a in parsed.all("svg") if "aria-hidden" not in a]
    assert len(pictures) > 30
    assert all(a["role"] == "img" and a["aria-label"] for a in pictures)
    assert all(a["aria-label"] and a["tabindex"] == "0" for a in parsed.all("div") if a.get("class") == "box")
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_the_answer_comes_first_then_what_limits_it(page):
    order = [
        "<h1>Which strategy reaches",
        "average reaches 0.93 first",
        "average, workers 4, speeds uneven is broken: cluster.speeds has 3 numbers",
        "weighted, workers 4, speeds uneven is not comparable: the best learning rate",
        "average, workers 4, speeds equal, seed 2: diverged",
        "<table",
    ]
    places = [page.index(text) for text in order]
    assert places == sorted(places)


def test_rows_say_how_many_runs_reached_the_target():
    document = compose(view.completed(results()), times)
    section = next(s for s in document.sections if s.title.startswith("slow:"))
    table: Any = section.blocks[0]
    rows = {
        (group.heading, row[0]): dict(zip(table.head, row, strict=True)) for group in table.groups for row in group.rows
    }
    late = rows["workers 2, speeds uneven", "average"]
    assert late["median time"] == f"{NONE} (1 of 3)"
    assert late["ratio to sync"].startswith("at least ")
    assert late["pairs"] == "3, 2 censored"
    assert rows["workers 4, speeds equal", "sync"]["verdict"] == "reference"
    assert rows["workers 4, speeds equal", "average"]["median time"].endswith("(2 of 3)")
    assert rows["workers 4, speeds uneven", "weighted"]["verdict"].endswith("; not comparable")
    assert rows["workers 4, speeds uneven", "average"]["verdict"].startswith("broken: ")


def test_measured_and_modelled_times_share_no_table_or_figure():
    document = compose(view.completed(results()), times)
    for section in document.sections:
        for block in section.blocks:
            head = getattr(block, "head", None) or getattr(getattr(block, "table", None), "head", [])
            clocks = {
                compare_results.PRICES[name] == "measured" for name in compare_results.PRICES if f"time, {name}" in head
            }
            assert len(clocks) <= 1


def test_an_interval_that_is_open_has_a_dash():
    found = results()
    ratio = found["findings"]["tables"][0]["rows"][1]["ratio"]
    ratio.update(ratio=1.25, low=1.1, high=None, bound="at least")
    assert f'<td class="n">at least 1.25</td><td class="n">1.10 to {NONE}</td>' in page_of(found)


def test_what_users_wrote_is_escaped_everywhere(tmp_path, without_png):
    found = results()
    text = json.dumps(found).replace("Which strategy reaches the target soonest", json.dumps(EVIL)[1:-1])
    text = text.replace('"weighted"', json.dumps(EVIL))
    found = json.loads(text)
    write.write_report(tmp_path, found, times)
    page = (tmp_path / "report.html").read_text()
    Checked(page)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; a | b" in page
    assert "</script>" not in page[page.index('id="data">') : page.index("</script>\n<script>")]
    markdown = (tmp_path / "report.md").read_text()
    assert "<script>" not in re.sub("^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)  # but in code
    assert escaped(EVIL) in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("| workers 1, speeds equal | sync | reference")]
    assert lines
    for path in (tmp_path / "figures").glob("*.svg"):
        ElementTree.parse(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | b", r"a \| b"),
        ("_a_ and b_c", r"\_a\_ and b_c"),
        ("1. first", r"1\. first"),
        ("1.25", "1.25"),
        ("# no\nheading", r"\# no heading"),
        ("a <b> & c", "a &lt;b&gt; &amp; c"),
    ],
)
def test_markdown_is_escaped(text, expected):
    assert escaped(text) == expected


def test_an_arm_has_one_colour_dash_and_marker_in_all_figures(tmp_path, without_png):
    write.write_report(tmp_path, results(), times)
    looks: dict[str, set[tuple[str, str | None, str]]] = {}
    for path in (tmp_path / "figures").glob("*.svg"):
        for group in re.findall(r'<g class="(c\d)" data-arm="(\d+)">(.*?)</g>', path.read_text(), re.DOTALL):
            dash = re.search(r'stroke-dasharray="([^"]*)"', group[2])
            marker = re.search(r'href="#(m\d)"', group[2])
            assert marker
            looks.setdefault(group[1], set()).add((group[0], dash and dash.group(1), marker.group(1)))
    assert all(len(each) == 1 for each in looks.values())
    found = [next(iter(looks[arm])) for arm in ("0", "1", "2")]
    assert all(
        len({look[i] for look in found}) == 3 for i in range(3)
    )  # each of them tells the arms apart, in grey too


def test_sliders_give_the_clocks_times():
    found = view.completed(results())
    document = compose(found, times)
    (sliders,) = [block for section in document.sections for block in section.blocks if isinstance(block, Sliders)]
    assert sliders.points[sliders.first][0] == "workers 4, speeds equal"
    for name in ("slow", "fast"):  # which differ in the network only
        bits, latency = network(found["prices"][name]["network"])
        tables = [table for table in found["findings"]["tables"] if table["price"] == name]
        for table, (place, arms) in zip(tables, sliders.points, strict=True):
            assert place == view.point_title(table["at"])
            for row, (arm, runs) in zip(table["rows"], arms, strict=True):
                assert row["arm"] == arm
                for time, (seed, reached, base, latencies, sent) in zip(row["times"], runs, strict=True):
                    assert (seed, reached) == (time["seed"], time["reached"])
                    assert base + latencies * latency + sent / bits == pytest.approx(time["seconds"], rel=1e-4)


def test_what_is_undecided_is_pale_on_the_map_and_named_in_its_table():
    found = view.completed(results())
    diagram = found["findings"]["diagram"]
    (figure,) = [b for s in compose(found, times).sections for b in s.blocks if getattr(b, "name", "") == "diagram"]
    drawn = svg.file(figure.panels)
    looks = {
        (arm, won) for row in zip(diagram["first"], diagram["won"], strict=True) for arm, won in zip(*row, strict=True)
    }
    assert {(int(arm), not pale) for arm, pale in re.findall('class="area c(.)( pale)?"', drawn)} == looks
    assert len(looks) > 3  # of three arms, some in both ways
    signs = re.findall('class="sign( pale)?"', drawn)
    assert 0 < signs.count(" pale") < len(signs)
    texts = [text for group in figure.table.groups for row in group.rows for text in row[1:]]
    undecided = sum(not won for row in diagram["won"] for won in row)
    assert sum(text.endswith(" (undecided)") for text in texts) == undecided > 0


def test_arms_that_the_map_leaves_out_are_named_above_it():
    found = results()
    found["findings"]["left_out"] = ["The map of networks leaves out arms: average failed."]
    text = page_of(found)
    assert 0 < text.index("leaves out arms: average failed.") < text.index("The winner at workers 4")


def test_figures_of_prices_with_like_names_are_files_of_their_own(tmp_path, without_png):
    """Some file systems do not tell upper from lower case."""
    found = results(evaluations=4)
    names = {"slow": "slow link", "fast": "Slow-Link", "here": "slow-link-2"}
    found["prices"] = {names[name]: price for name, price in found["prices"].items()}
    found["prices"]["slow-link-2"] = {**found["prices"]["slow link"], "network": "1Mbit,1ms"}
    for table in found["findings"]["tables"]:
        table["price"] = names[table["price"]]
        for row in table["rows"]:
            row.update(computing=1.0, waiting=0.0, moving=1.0)
    written = write.write_report(tmp_path, found, times)
    files = [path for path in written if path.suffix == ".svg"]
    assert len({path.name.casefold() for path in files}) == len(files)
    parts = [path for path in files if path.name.startswith("parts-")]
    assert {path.stem for path in parts} == {"parts-slow-link-2", "parts-slow-link", "parts-Slow-Link-3"}
    text = (tmp_path / "report.md").read_text()
    for path in parts:
        assert f"](figures/{path.name})" in text
    for name in found["prices"]:
        assert sum(f", {name}:" in path.read_text() for path in parts) == 1


def test_a_clock_that_is_not_affine_has_no_sliders():
    def bent(cell: Any, run: Any, price: Any) -> Parts | None:
        parts = times(cell, run, price)
        slow = price != "measured" and price["network"] and network(price["network"])[0] < 5e7
        return parts and parts._replace(seconds=parts.seconds * (1.5 if slow else 1.0))

    found = view.completed(results())
    assert networks._sliders(found, "slow", view.RunClock(found, times))
    assert networks._sliders(found, "slow", view.RunClock(found, bent)) is None


def test_the_csv_has_every_evaluation_and_leaves_out_what_is_unknown(tmp_path, without_png):
    found = results()
    cell = next(cell for cell in found["cells"] if cell["arm"] == "sync" and cell["workers"] == 4)
    cell["runs"][0]["measured"] = None
    cell["runs"][0]["series"]["validation_loss"][1] = None
    write.write_report(tmp_path, found, times)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "series.csv").read_text())))
    assert len(rows) == sum(len(run["series"]["examples"]) for cell in found["cells"] for run in cell["runs"])
    mine = [
        r for r in rows if (r["arm"], r["workers"], r["speeds"], r["seed"]) == ("sync", "4", cell["at"]["speeds"], "0")
    ]
    second, run = mine[1], cell["runs"][0]
    assert int(second["examples"]) == run["series"]["examples"][1]
    assert float(second["epochs"]) == 2.0
    assert int(second["bytes"]) == run["series"]["rounds"][1] * cell["message_bytes"]
    assert float(second["test_accuracy"]) == pytest.approx(run["series"]["test_accuracy"][1])
    assert second["validation_loss"] == ""
    assert second["measured seconds: here"] == ""
    assert {row["workers"] for row in rows if row["bytes"] == "0"} == {"1"}  # who has nobody to send to
    expected = times(cell, run, found["prices"]["slow"])
    assert expected
    assert float(second["modelled seconds: slow"]) == pytest.approx(expected.seconds[1])


def test_a_figure_of_a_point_with_a_long_name_is_a_file_all_the_same(tmp_path, without_png):
    """A file system refuses a name of more than 255 bytes."""
    found, label = results(), "ü" * 400
    for part in (*found["cells"], *found["findings"]["tables"]):
        part["at"] = {axis: value + label for axis, value in part["at"].items()}
    written = {path.name for path in write.write_report(tmp_path, found, times)}
    curves = [name for name in written if name.startswith("curves-")]
    assert len(curves) == len({tuple(cell["at"].items()) for cell in found["cells"]})


def test_it_is_rebuilt_the_same_from_the_file(tmp_path, without_png):
    found = results()
    (tmp_path / "results.json").write_text(json.dumps(found))
    first = {path: path.read_bytes() for path in write.write_report(tmp_path, found, times)}
    again = write.write_report(tmp_path, read_results(tmp_path), times)
    assert {path: path.read_bytes() for path in again} == first


def test_what_was_not_done_is_left_out():
    found = results()
    found["prices"] = {}
    found["findings"] = {"tables": [], "answer": ["There is no target."]}
    for cell in found["cells"]:
        cell.update(tuning=None, tuned={}, costs=None)
        for run in cell["runs"]:
            run["measured"] = None
    text = page_of(found)
    assert "There is no target, or no run could be timed." in text
    assert not [
        title for title in ("Tuning", "Where the time goes", "Other networks", "Free checks") if f">{title}<" in text
    ]
    assert "By rounds" in text


def test_a_large_comparison_still_fits_and_says_what_is_elsewhere():
    found = results()
    cells, tables = found["cells"], found["findings"]["tables"]
    at = [{"copy": str(k)} for k in range(8)]
    found["cells"] = [{**cell, "at": cell["at"] | each} for each in at for cell in cells]
    found["findings"]["tables"] = [{**table, "at": table["at"] | each} for each in at for table in tables]
    text = page_of(found)
    Checked(text)
    assert 900_000 < len(text.encode()) <= 1_000_000
    assert "being too large for this page: " in text


def test_long_series_are_thinned_and_the_page_says_so():
    text = page_of(results(evaluations=400))
    assert re.search(r"every \d+th evaluation is drawn, all are in series.csv", text)
    assert max(points.count(" ") for points in re.findall(r'points="([^"]*)"', text)) < 121


def test_png_pictures_are_drawn_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib", reason="the report extra is not installed")
    found = results(evaluations=4)
    found["cells"] = [cell for cell in found["cells"] if cell["at"] == {"workers": "4", "speeds": "equal"}]
    tables = found["findings"]["tables"]
    found["findings"]["tables"] = [t for t in tables if t["at"] == found["cells"][0]["at"]]
    written = write.write_report(tmp_path, found, times)
    pictures = [path for path in written if path.suffix == ".png"]
    assert {path.stem for path in pictures} == {path.stem for path in written if path.suffix == ".svg"}
    assert {"diagram", "measured", "tuning", "parts-slow"} < {path.stem for path in pictures}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


@pytest.mark.parametrize("origin", ["auto", "given"])
def test_what_a_budget_and_an_automatic_target_mean_is_said(origin):
    found = results()
    found["target"]["origin"] = origin
    text = str(setup.sections(found)[0].blocks[0])
    assert "a budget of 20 epochs, and was trained to the end of the round that spent it" in text
    assert ("At least half of the runs that set it reach it by construction" in text) == (origin == "auto")


def test_hashes_settings_that_differ_the_machine_and_checks_are_listed(page):
    run = results()["cells"][0]["runs"][0]
    assert run["sha256"] in page
    assert "strategy.name: parameter-averaging" in page
    assert "AMD EPYC 9R14" in page
    assert "DOES NOT HOLD" in page


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist: give the directory of a comparison"),
        ("{", "results.json:1: not JSON"),
        ("[]", "has no schema version"),
        ('{"schema": 2}', "has schema 2; this psgd reads 1"),
        ('{"schema": 1, "cells": []}', "has no arms, axes, base, budget, prices, reference, seeds, target; remove it"),
    ],
)
def test_results_that_cannot_be_read_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=re.escape(words)):
        read_results(tmp_path)


def test_the_command_computes_the_findings_anew_and_prints_where(tmp_path, capsys, without_png):
    found = results(evaluations=4)
    found["findings"] = {"answer": ["Findings of an earlier psgd."]}
    (tmp_path / "results.json").write_text(json.dumps(found))
    for path in (tmp_path, tmp_path / "results.json"):
        assert main([str(path)]) == 0
        assert Path(capsys.readouterr().out.strip()) == tmp_path / "report.html"
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# Which strategy")
    assert "Findings of an earlier psgd." not in page


def test_the_command_fails_with_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 3
    assert capsys.readouterr().out == ""


def test_tunings_with_equal_scores_are_counted_each(page):
    found = results()
    spent = {(c["arm"], c["at"]["workers"]): c["tuning"]["examples"] for c in found["cells"] if c["tuning"]}
    assert len(set(spent.values())) < len(spent)  # some are equal
    assert f"Tuning took {numbers.count(sum(spent.values()))} examples" in page


def test_where_the_reference_has_no_time_no_arm_is_called_the_reference():
    found = results()
    for table in found["findings"]["tables"]:
        table["rows"] = [{**row, "ratio": None} for row in table["rows"] if row["arm"] != "sync"]
    document = compose(view.completed(found), times)
    section = next(s for s in document.sections if s.title.startswith("slow:"))
    table: Any = section.blocks[0]
    verdicts = {row[1] for group in table.groups for row in group.rows}
    assert "the reference has no time here" in verdicts
    assert "reference" not in verdicts
