"""What a report consists of: headings, paragraphs, lists, tables and figures, written as HTML and as Markdown."""

from dataclasses import dataclass, field

from psgd.compare.report.panels import Panels


@dataclass(frozen=True)
class Paragraph:
    """A paragraph. `kind`: "" or "warning"."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list of sentences. `kind`: "", "answer" or "warning". `summary`: what it is hidden behind until
    it is opened."""

    items: list[str]
    kind: str = ""
    summary: str = ""


@dataclass(frozen=True)
class RowGroup:
    """Rows of a table under a heading of their own; the first cell of a row names it."""

    rows: list[list[str]]
    heading: str = ""


@dataclass(frozen=True)
class Table:
    """A table: `numeric` has the numbers of the columns that are aligned to the right; `details` hides it behind its
    caption until it is opened."""

    caption: str
    head: list[str]
    groups: list[RowGroup]
    numeric: frozenset[int] = frozenset()
    details: bool = False
    mono: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Code:
    """Settings or the like, word for word, behind a caption."""

    caption: str
    text: str


@dataclass(frozen=True)
class Figure:
    """Panels side by side under a title, their caption and, under it, a table of what they show. `name`: of its
    file."""

    name: str
    title: str
    panels: Panels
    caption: str
    table: Table | None


@dataclass(frozen=True)
class Sliders:
    """A table of times that a script reprices for any network. `runs`: for each grid point and arm a list of (seed,
    reached, seconds without a network, latencies, bits) per run. `first`: the point shown at first."""

    price: str
    first: int
    points: list[tuple[str, list[tuple[str, list[list[float]]]]]]


Block = Paragraph | Bullets | Table | Code | Figure | Sliders


@dataclass(frozen=True)
class Section:
    """A heading of the second level (of the third, if `sub`) and what stands under it."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    sub: bool = False


@dataclass(frozen=True)
class Document:
    """A whole report. `about`: a line on what was compared."""

    title: str
    about: str
    sections: list[Section]
