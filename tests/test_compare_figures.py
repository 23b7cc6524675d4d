"""Figures of the report of a comparison: colours, sliders, and the map of who wins where."""

import re
from typing import Any

import pytest
from compare_findings import Parts, network, times
from compare_pages import page_of, without_png
from compare_results import results

import psgd.compare.report.write as write
from psgd.compare.report import axes, networks, svg, view
from psgd.compare.report.blocks import Sliders
from psgd.compare.report.document import compose
from psgd.compare.report.panels import Axis, Curves

__all__ = ["without_png"]  # a fixture


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


def test_a_map_on_which_no_arm_is_first_is_replaced_by_a_sentence():
    found = view.completed(results())
    diagram = found["findings"]["diagram"]
    diagram["first"] = [[None for _ in row] for row in diagram["first"]]
    section = next(s for s in compose(found, times).sections if s.title == "Other networks")
    assert not any(getattr(block, "name", "") == "diagram" for block in section.blocks)
    assert any("There is no map of networks: " in getattr(block, "text", "") for block in section.blocks)


def test_every_value_that_was_tried_has_a_mark():
    found = view.completed(results())
    (figure,) = [b for s in compose(found, times).sections for b in s.blocks if getattr(b, "name", "") == "tuning"]
    assert {panel.marked(number) for panel in figure.panels.panels for number in range(len(panel.lines))} == {(0, 1)}


@pytest.mark.parametrize(("values", "note"), [((0.5, 0.98), "; scores are stretched towards 1"), ((0.5, 0.6), "")])
def test_a_stretched_axis_is_named_in_the_caption(values, note):
    panel = Curves("", Axis("", "linear", 0.0, 1.0), axes.score_axis("accuracy", values), [])
    assert axes.stretch_note([panel]) == note
