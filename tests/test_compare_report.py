"""The page of a comparison: what it says, and that it is complete without a script or a network."""

import json
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from compare_findings import PRICES, times
from compare_pages import Checked, page, page_of, without_png
from compare_results import results

import psgd.compare.report.write as write
from psgd.compare import numbers
from psgd.compare.numbers import NONE
from psgd.compare.report import setup, view
from psgd.compare.report.document import compose
from psgd.compare.report.markdown import escaped

__all__ = ["page", "without_png"]  # fixtures
EVIL = '<script>alert("1")</script> & a | b [c](d) `e` *f*'


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
            clocks = {PRICES[name] == "measured" for name in PRICES if f"time, {name}" in head}
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


@pytest.mark.parametrize("fewest", [1, 2])
def test_why_times_of_one_worker_differ_is_said_where_there_is_one(fewest):
    found = results()
    for cell in found["cells"]:
        cell["workers"] = max(fewest, cell["workers"])
    assert ("One worker has nothing to combine" in page_of(found)) == (fewest == 1)
