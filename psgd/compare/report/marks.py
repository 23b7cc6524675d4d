"""What tells arms apart in any figure: colour, dash and marker, fixed by the arm's number, legible in grey too."""

from psgd.compare.single_run.picture import COLOURS

DASHES = ("", "6 3", "7 2 1.5 2", "1.5 2", "10 2 1.5 2 1.5 2")  # of SVG; in the order of the lines of psgd.plot
SHAPES = (  # paths around (0, 0) of about 6 units; in the order of the markers of psgd.plot
    "M-3 0A3 3 0 1 0 3 0A3 3 0 1 0-3 0Z",
    "M-2.7-2.7H2.7V2.7H-2.7Z",
    "M0-3.4L3.3 2.6H-3.3Z",
    "M0-3.7L3.7 0L0 3.7L-3.7 0Z",
    "M0 3.4L3.3-2.6H-3.3Z",
    "M-1-3.3H1V-1H3.3V1H1V3.3H-1V1H-3.3V-1H-1Z",
    "M-3.2-1.8L-1.8-3.2L0-1.4L1.8-3.2L3.2-1.8L1.4 0L3.2 1.8L1.8 3.2L0 1.4L-1.8 3.2L-3.2 1.8L-1.4 0Z",
    "M0-4L1.2-1.3L4-1.3L1.8.5L2.6 3.4L0 1.7L-2.6 3.4L-1.8.5L-4-1.3L-1.2-1.3Z",
)
LIGHT = {"text": "#1b1f24", "faint": "#5b636e", "grid": "#dfe3e8", "paper": "#ffffff"}
DARK = {"text": "#e6e8eb", "faint": "#a3abb5", "grid": "#343a42", "paper": "#14171b"}
BLACK = len(COLOURS) - 1  # the colour that turns white on dark paper


def colour(arm: int) -> str:
    """The class that colours an arm."""
    return f"c{arm % len(COLOURS)}"


def dash(arm: int) -> str:
    """The attribute that dashes an arm's line."""
    pattern = DASHES[arm % len(DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def marker(arm: int) -> str:
    """The id of an arm's marker in `definitions`."""
    return f"m{arm % len(SHAPES)}"


def definitions() -> str:
    """Markers and hatching, once a page or file."""
    shapes = "".join(f'<path id="m{i}" d="{path}"/>' for i, path in enumerate(SHAPES))
    hatch = (
        '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="p1" width="5" height="5"/><path class="p1-line" d="M0 0V5" stroke-width="3"/></pattern>'
    )
    return f"<defs>{shapes}{hatch}</defs>"


def colours(palette: dict[str, str]) -> str:
    """CSS variables of a palette."""
    arms = "".join(f"--c{i}:{c};" for i, c in enumerate(COLOURS[:-1]))
    return "".join(f"--{name}:{value};" for name, value in palette.items()) + f"{arms}--c{BLACK}:{palette['text']};"


def rules() -> str:
    """CSS of everything within a figure, over the variables of `colours`."""
    arms = "".join(f".c{i}{{color:var(--c{i})}}" for i in range(len(COLOURS)))
    return (
        "svg text{fill:var(--text);font:11px system-ui,sans-serif}svg .faint{fill:var(--faint)}"
        "svg .grid{stroke:var(--grid);fill:none}svg .frame{stroke:var(--faint);fill:none}"
        "svg .target{stroke:var(--text);stroke-dasharray:2 3;fill:none}"
        "svg .line{fill:none;stroke:currentColor;stroke-linejoin:round}"
        "svg .band{fill:currentColor;opacity:.16}svg .mark{fill:currentColor;stroke:var(--paper);stroke-width:.7}"
        "svg .ring{fill:none;stroke:var(--text);stroke-width:1.2}"
        "svg .area{fill:currentColor;opacity:.6}"
        "svg .area.pale{opacity:.18}svg .sign.pale{opacity:.35}"
        "svg .sign{fill:var(--text)}svg .p0{fill:var(--faint)}svg .p1{fill:var(--paper)}"
        "svg .p1-line{stroke:var(--faint)}svg .p2{fill:var(--grid)}svg .bar{stroke:var(--faint);stroke-width:.6}" + arms
    )
