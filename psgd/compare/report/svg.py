"""Panels as static SVG: complete without a script, coloured by the classes of `marks`."""

from html import escape

from psgd.compare.numbers import bandwidth, seconds
from psgd.compare.report import axes
from psgd.compare.report.marks import LIGHT, colour, colours, dash, definitions, marker, rules
from psgd.compare.report.panels import Bars, Curves, Line, Map, Panel, Panels

WIDTH, HEIGHT = 300, 236  # of a panel of lines, in pixels at its natural size
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 22, 36  # margins around its axes
ROW = 36  # height of a bar and its label


def height(panel: Panel) -> int:
    """The height of a panel."""
    return 30 + ROW * len(panel.rows) if isinstance(panel, Bars) else HEIGHT


def drawn(panel: Panel, description: str) -> str:
    """One panel as an element `svg`; `description` is its text for those who do not see it."""
    if isinstance(panel, Curves):
        inside, data = _curves(panel), _scales(panel)
    else:
        inside, data = (_bars(panel) if isinstance(panel, Bars) else _map(panel)), ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height(panel)}" role="img" aria-label="{escape(description)}"{data}>{inside}</svg>'
    )


def file(figure: Panels) -> str:
    """A whole figure as an SVG file, with a legend under its panels."""
    columns = figure.columns
    rows = [figure.panels[i : i + columns] for i in range(0, len(figure.panels), columns)]
    parts, top = [], 0
    for row in rows:
        for column, panel in enumerate(row):
            text = drawn(panel, panel.title).replace(
                "<svg ", f'<svg x="{column * WIDTH}" y="{top}" width="{WIDTH}" ', 1
            )
            parts.append(text.replace("viewBox", f'height="{height(panel)}" viewBox', 1))
        top += max(height(panel) for panel in row)
    for entry in legend(figure):
        parts.append(f'<g transform="translate(8 {top})">{entry[0]}<text x="40" y="13">{escape(entry[1])}</text></g>')
        top += 18
    width = columns * WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + 6}" width="{width}" height="{top + 6}">'
        f"<title>{escape(figure.description)}</title><style>svg{{{colours(LIGHT)}}}{rules()}</style>"
        f'{definitions()}<rect width="100%" height="100%" fill="{LIGHT["paper"]}"/>{"".join(parts)}</svg>\n'
    )


def legend(figure: Panels) -> list[tuple[str, str]]:
    """Samples of 34 x 18 of every arm and part in a figure, and their names."""
    arms = [
        (
            f'<g class="{colour(arm)}"><path class="line" stroke-width="2"{dash(arm)} d="M2 9H32"/>'
            f'<use class="mark" href="#{marker(arm)}" x="17" y="9"/></g>',
            name,
        )
        for arm, name in figure.legend
    ]
    return arms + [
        (f'<rect class="bar {_fill(i)[0]}"{_fill(i)[1]} x="2" y="4" width="30" height="10"/>', part)
        for i, part in enumerate(figure.parts)
    ]


def _fill(part: int) -> tuple[str, str]:
    return ("", ' fill="url(#hatch)"') if part == 1 else (f"p{part}", "")


def _x(panel: Curves, value: float) -> float:
    return LEFT + axes.fraction_along(panel.x, value) * (WIDTH - LEFT - RIGHT)


def _y(panel: Curves, value: float) -> float:
    return HEIGHT - BOTTOM - axes.fraction_along(panel.y, value) * (HEIGHT - TOP - BOTTOM)


def _scales(panel: Curves) -> str:
    """What the page's script needs to turn positions back into values."""
    box = f"{LEFT} {WIDTH - RIGHT} {HEIGHT - BOTTOM} {TOP}"
    x, y = (f"{axis.kind} {axis.low:.6g} {axis.high:.6g}" for axis in (panel.x, panel.y))
    return f' class="hover" data-box="{box}" data-x="{x}" data-y="{y}"'


def _curves(panel: Curves) -> str:
    parts = [f'<text x="{LEFT}" y="13">{escape(panel.title)}</text>']
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    grid = "".join(f"M{LEFT} {_y(panel, v):.1f}H{right}" for v, _ in axes.ticks(panel.y))
    grid += "".join(f"M{_x(panel, v):.1f} {TOP}V{bottom}" for v, _ in axes.ticks(panel.x))
    parts.append(f'<path class="grid" d="{grid}"/><path class="frame" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    for value, label in axes.ticks(panel.y):
        parts.append(f'<text x="{LEFT - 4}" y="{_y(panel, value) + 4:.1f}" text-anchor="end">{label}</text>')
    for value, label in axes.ticks(panel.x):
        parts.append(f'<text x="{_x(panel, value):.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text class="faint" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(panel.x.label)}</text>'
    )
    parts += [_band(panel, line) for line in panel.lines if line.low]
    if panel.target is not None and panel.y.low <= panel.target <= panel.y.high:
        parts.append(f'<path class="target" d="M{LEFT} {_y(panel, panel.target):.1f}H{right}"/>')
    return "".join(parts + [_line(panel, line, i) for i, line in enumerate(panel.lines)])


def _band(panel: Curves, line: Line) -> str:
    there = [f"{_x(panel, x):.1f} {_y(panel, y):.1f}" for x, y in zip(line.x, line.high, strict=True)]
    back = [f"{_x(panel, x):.1f} {_y(panel, y):.1f}" for x, y in zip(line.x, line.low, strict=True)]
    return f'<path class="band {colour(line.arm)}" d="M{"L".join(there + back[::-1])}Z"/>'


def _line(panel: Curves, line: Line, number: int) -> str:
    points = [(_x(panel, x), _y(panel, y)) for x, y in zip(line.x, line.y, strict=True)]
    start, every = panel.marked(number)
    marks = "".join(
        f'<use class="mark" href="#{marker(line.arm)}" x="{x:.1f}" y="{y:.1f}"/>' for x, y in points[start::every]
    )
    if line.marked is not None:
        x, y = points[line.marked]
        marks += f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="6.5"/>'
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return (
        f'<g class="{colour(line.arm)}" data-arm="{line.arm}"><polyline class="line"{dash(line.arm)} '
        f'stroke-width="{panel.width(number):.1f}" points="{path}"/>'
        f"{marks}</g>"
    )


def _bars(panel: Bars) -> str:
    parts = [f'<text x="4" y="13">{escape(panel.title)}</text>']
    longest = max((sum(lengths) for _, _, lengths, _ in panel.rows), default=0.0) or 1.0
    for number, (arm, name, lengths, label) in enumerate(panel.rows):
        top, x = 22 + ROW * number, 4.0
        parts.append(
            f'<use class="mark {colour(arm)}" href="#{marker(arm)}" x="9" y="{top + 7}"/>'
            f'<text x="18" y="{top + 11}">{escape(name)}</text>'
            f'<text x="{WIDTH - 6}" y="{top + 11}" text-anchor="end">{escape(label)}</text>'
        )
        for i, length in enumerate(lengths):
            width = (WIDTH - 10) * length / longest
            fill, attribute = _fill(i)
            parts.append(
                f'<rect class="bar {fill}"{attribute} x="{x:.1f}" y="{top + 16}" width="{width:.1f}" height="12"/>'
            )
            x += width
    return "".join(parts)


def _pale(won: bool) -> str:
    return "" if won else " pale"


def _map(panel: Map) -> str:
    left, bottom = 60, HEIGHT - BOTTOM
    rows, columns = len(panel.latencies), len(panel.bandwidths)
    wide, high = (WIDTH - left - RIGHT) / columns, (bottom - TOP) / rows
    parts = [f'<text x="4" y="13">{escape(panel.title)}</text>']
    areas: dict[tuple[int, bool], str] = {}  # neighbours that look the same are one rectangle, and all of these a path
    for i, row in enumerate(zip(*pair, strict=True) for pair in zip(panel.first, panel.won, strict=True)):
        looks, start = list(row), 0
        for j in range(1, columns + 1):
            if j < columns and looks[j] == looks[start]:
                continue
            arm, won = looks[start]
            if arm is not None:
                x, y, width = left + start * wide, bottom - (i + 1) * high, (j - start) * wide
                path = f"M{x:.1f} {y:.1f}h{width:.2f}v{high + 0.2:.2f}h{-width:.2f}z"
                areas[arm, won] = areas.get((arm, won), "") + path
            start = j
    for (arm, won), path in areas.items():
        parts.append(f'<path class="area {colour(arm)}{_pale(won)}" d="{path}"/>')
    each = max(1, round(columns / 8))  # a marker in every so many columns and rows
    for i in range(each // 2, rows, each):
        for j in range(each // 2, columns, each):
            if (arm := panel.first[i][j]) is not None:
                x, y, pale = left + (j + 0.5) * wide, bottom - (i + 0.5) * high, _pale(panel.won[i][j])
                parts.append(f'<use class="sign{pale}" href="#{marker(arm)}" x="{x:.1f}" y="{y:.1f}"/>')
    for value, at in axes.decades(panel.latencies, 1):
        y = bottom - (at + 0.5) * high + 4
        parts.append(f'<text x="{left - 4}" y="{y:.1f}" text-anchor="end">{seconds(value, 1)}</text>')
    for value, at in axes.decades(panel.bandwidths, 2):
        x = left + (at + 0.5) * wide
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{bandwidth(value, 1)}</text>')
    parts.append(f'<path class="frame" d="M{left} {TOP}V{bottom}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text class="faint" x="{(left + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">bandwidth</text>')
    return "".join(parts)
