"""Figures before they are drawn: panels of lines, bars or a map, with their axes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

MARKS = 7  # markers on a line, about; raised, lines are told apart more easily, but covered


@dataclass(frozen=True)
class Line:
    """One arm's line: points, and the band around it from `low` to `high` (empty for none). `marked`: index of the
    point with a ring around it. `arm` decides on colour, dash and marker."""

    arm: int
    x: list[float]
    y: list[float]
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    marked: int | None = None


@dataclass(frozen=True)
class Axis:
    """An axis: its label, and its kind: "linear", "log", or "ones" (logarithmic in the distance to 1)."""

    label: str
    kind: str
    low: float
    high: float


@dataclass(frozen=True)
class Curves:
    """A panel of lines, and a horizontal line at `target`."""

    title: str
    x: Axis
    y: Axis
    lines: list[Line]
    target: float | None = None
    mark_all: bool = False  # give each point a marker: where there is nothing between them

    def marked(self, number: int) -> tuple[int, int]:
        """The first point of a line with a marker, and every how many have one: in turn, for where lines are equal."""
        if self.mark_all:
            return 0, 1
        points, lines = len(self.lines[number].x), len(self.lines)
        every = min(points, max(lines, -(-points // MARKS)))
        return every * number // lines, every

    def width(self, number: int) -> float:
        """The width of a line: the first are drawn below, and thicker, for where lines are equal."""
        return 1.6 + 0.7 * min(3, len(self.lines) - 1 - number)


@dataclass(frozen=True)
class Bars:
    """A panel of stacked bars: for each arm the lengths of its parts, and a label for their sum."""

    title: str
    parts: list[str]
    rows: list[tuple[int, str, list[float], str]]  # (arm, its name, lengths, label)


@dataclass(frozen=True)
class Map:
    """A panel of cells coloured by the arm that is first (None: no arm), pale unless it has `won`, by latency (rows, in
    seconds) and bandwidth (columns, in bits a second), both ascending."""

    title: str
    latencies: list[float]
    bandwidths: list[float]
    first: list[list[int | None]]
    won: list[list[bool]]


Panel = Curves | Bars | Map


@dataclass(frozen=True)
class Panels:
    """The panels of a figure, the arms of its legend (number, name), and what it shows in words."""

    panels: Sequence[Panel]
    legend: list[tuple[int, str]]
    description: str
    parts: list[str] = field(default_factory=list)  # names of the parts of bars

    @property
    def columns(self) -> int:
        """Panels in a row, if there is room."""
        count = len(self.panels)
        return min(count, 3 if count in (5, 6, 9) else 4)
