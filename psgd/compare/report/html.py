"""A report as one HTML page that needs nothing else: no network, and no script to be complete."""

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

from psgd.compare.report import svg
from psgd.compare.report.blocks import Block, Bullets, Code, Document, Figure, Paragraph, Section, Sliders, Table
from psgd.compare.report.marks import DARK, LIGHT, colours, definitions, rules

MOST_BYTES = 950_000  # of the page's text, tables and figures; what is beyond is linked. Raised, it may exceed 1 MB
BANDWIDTHS = (6, 11, 8)  # least, most and first of the slider: powers of ten of bits a second
LATENCIES = (-6, -1, -3)  # the same, of seconds


class Page:
    """Writes one document as a page."""

    def __init__(self, document: Document, arms: list[str], reference: str) -> None:
        self._document = document
        self._data: dict[str, Any] = {"arms": arms, "reference": reference, "sliders": []}
        self._bytes = 0  # so far

    def text(self) -> str:
        document = self._document
        titles = [section.title for section in document.sections]
        links = [
            f'<a href="#s{i}">{escape(titles[i])}</a>' for i, s in enumerate(document.sections) if not s.sub and i > 0
        ]
        body = "".join(self._section(i, section) for i, section in enumerate(document.sections))
        script = _beside("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        style = (
            f":root{{{colours(LIGHT)}}}@media screen and (prefers-color-scheme:dark){{:root{{{colours(DARK)}}}}}"
            f"{rules()}\n{_beside('page.css')}"
        )
        data = json.dumps(self._data, separators=(",", ":")).replace("<", "\\u003c")
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(document.title)}</title>\n<style>{style}</style></head>\n<body>"
            f'<svg class="definitions" width="0" height="0" aria-hidden="true">{definitions()}</svg>'
            f'<header><h1>{escape(document.title)}</h1><p class="about">{escape(document.about)}</p></header>'
            f"\n<main>{body.replace('</section>', _nav(links) + '</section>', 1)}</main>\n"
            f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script></body></html>\n'
        )

    def _section(self, number: int, section: Section) -> str:
        level = 3 if section.sub else 2
        blocks = "".join(self._fitting(block) for block in section.blocks)
        return f'\n<section id="s{number}"><h{level}>{escape(section.title)}</h{level}>{blocks}</section>'

    def _fitting(self, block: Block) -> str:
        """A block, or a link to where it is if the page has no room for it."""
        text = self._block(block)
        if self._bytes + len(text.encode()) > MOST_BYTES and not isinstance(block, Paragraph | Bullets | Sliders):
            what = escape(block.title if isinstance(block, Figure) else block.caption)
            text = f'<p class="note">In <a href="report.md">report.md</a>, being too large for this page: {what}</p>'
        self._bytes += len(text.encode())
        return text

    def _block(self, block: Block) -> str:
        if isinstance(block, Paragraph):
            return f"<p{_class(block.kind)}>{escape(block.text)}</p>"
        if isinstance(block, Bullets):
            items = "".join(f"<li>{escape(item)}</li>" for item in block.items)
            hidden = f"<summary>{escape(block.summary)}</summary>" if block.summary else ""
            text = f"<ul{_class(block.kind)}>{items}</ul>"
            return f"<details>{hidden}{text}</details>" if hidden else text
        if isinstance(block, Table):
            return _table(block)
        if isinstance(block, Code):
            summary = f"<summary>{escape(block.caption)}</summary>"
            return f"<details>{summary}<pre>{escape(block.text)}</pre></details>"
        return self._figure(block) if isinstance(block, Figure) else self._sliders(block)

    def _figure(self, figure: Figure) -> str:
        description = figure.panels.description
        panels = "".join(svg.drawn(panel, f"{description}: {panel.title}") for panel in figure.panels.panels)
        wide = " wide" if figure.panels.columns == 3 else ""
        samples = "".join(
            f'<span><svg width="34" height="18" viewBox="0 0 34 18" aria-hidden="true">{sample}</svg>'
            f"{escape(name)}</span>"
            for sample, name in svg.legend(figure.panels)
        )
        table = _table(figure.table) if figure.table else ""
        return (
            f'\n<figure><p class="title">{escape(figure.title)}</p>'
            f'<div class="legend">{samples}</div><div class="panels{wide}">{panels}</div>'
            f"<figcaption>{escape(figure.caption)}</figcaption>{table}</figure>"
        )

    def _sliders(self, sliders: Sliders) -> str:
        size = len(json.dumps(sliders.points))
        if self._bytes + size > MOST_BYTES:
            return ""
        self._bytes += size
        self._data["sliders"].append({"points": sliders.points})
        options = "".join(
            f'<option value="{i}"{" selected" * (i == sliders.first)}>{escape(point)}</option>'
            for i, (point, _) in enumerate(sliders.points)
        )
        head = "".join(
            f'<th scope="col"{_class("n" * (i > 0))}>{escape(name)}</th>'
            for i, name in enumerate(("arm", "median time", f"ratio to {self._data['reference']}"))
        )
        return (
            '<div class="sliders" hidden>'
            f"<p>The machines of {escape(sliders.price)} with another network: modelled times to the target from the "
            "same runs, without intervals or verdicts; ratios are of the seeds with which both reached it.</p>"
            f"<label>at <select>{options}</select></label>"
            f"{_slider('bandwidth', BANDWIDTHS)}{_slider('latency', LATENCIES)}"
            f'<div class="box" tabindex="0" role="region" aria-label="Times at this network"><table><thead>'
            f"<tr>{head}</tr></thead><tbody></tbody></table></div></div>"
            f'<noscript><p class="note">With JavaScript there are sliders here that reprice {escape(sliders.price)} '
            "for any bandwidth and latency.</p></noscript>"
        )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def _nav(links: list[str]) -> str:
    return f'<nav aria-label="Contents">{" ".join(links)}</nav>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _slider(name: str, powers: tuple[int, int, int]) -> str:
    low, high, first = powers
    return (
        f'<label>{name} <input type="range" min="{low}" max="{high}" step="0.02" value="{first}">'
        "<output></output></label>"
    )


def _table(table: Table) -> str:
    classes = ["n" if i in table.numeric else "mono" if i in table.mono else "text" for i in range(len(table.head))]
    head = "".join(
        f'<th scope="col"{_class("n" * (classes[i] == "n"))}>{escape(name)}</th>' for i, name in enumerate(table.head)
    )
    bodies = []
    for group in table.groups:
        heading = (
            f'<tr><th scope="rowgroup" colspan="{len(table.head)}">{escape(group.heading)}</th></tr>'
            if group.heading
            else ""
        )
        bodies.append(f"<tbody>{heading}{''.join(_row(row, classes) for row in group.rows)}</tbody>")
    label = escape(table.caption)
    box = (
        f'<div class="box" tabindex="0" role="region" aria-label="{label}"><table><thead><tr>{head}</tr></thead>'
        f"{''.join(bodies)}</table></div>"
    )
    if table.details:
        return f"\n<details><summary>{label}</summary>{box}</details>"
    return f'\n<p class="caption">{label}</p>{box}'


def _row(row: list[str], classes: list[str]) -> str:
    cells = []
    for i, text in enumerate(row):
        if i == 0 and classes[0] != "n":
            cells.append(f'<th scope="row">{escape(text)}</th>')
        else:
            cells.append(f"<td{_class(classes[i])}>{escape(text)}</td>")
    return f"<tr>{''.join(cells)}</tr>"
