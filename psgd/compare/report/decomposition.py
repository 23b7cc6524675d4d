"""Where the time goes: computing, waiting and moving of the median run, at every modelled price."""

from psgd.compare import numbers
from psgd.compare.report import view
from psgd.compare.report.blocks import Figure, Paragraph, RowGroup, Section, Table
from psgd.compare.report.curves import slug
from psgd.compare.report.panels import Bars, Panels

PARTS = ["computing", "waiting", "moving"]
ALONE = (
    " One worker has nothing to combine: the strategies' times differ there because the end of a round takes time of "
    "its own, and gradient averaging ends one after each step."
)


def section(results: view.Results) -> Section | None:
    """A figure of bars for each modelled price. None if there is none."""
    figures = [figure for price in view.modelled(results) if (figure := _figure(results, price))]
    if not figures:
        return None
    intro = Paragraph(
        "Modelled seconds of the median run until the target, or until the end of the budget if it misses the target. "
        "Computing: local steps, reductions and the loop; waiting: for slower workers; moving: messages between hosts."
        f"{ALONE if any(cell['workers'] == 1 for cell in results['cells']) else ''}"
    )
    return Section("Where the time goes", [intro, *figures])


def _figure(results: view.Results, price: str) -> Figure | None:
    panels, groups, legend = [], [], {}
    for table in results["findings"]["tables"]:
        rows = [row for row in table["rows"] if row["computing"] is not None]
        if table["price"] != price or not rows:
            continue
        point = view.point_title(table["at"])
        bars, lines = [], []
        for row in rows:
            lengths = [float(row[part]) for part in PARTS]
            number = results["arms"].index(row["arm"])
            bars.append((number, row["arm"], lengths, numbers.seconds(sum(lengths))))
            share = f"{100 * lengths[2] / sum(lengths):.0f} %" if sum(lengths) else numbers.NONE
            lines.append([row["arm"], *map(numbers.seconds, lengths), numbers.seconds(sum(lengths)), share])
            legend[number] = row["arm"]
        panels.append(Bars(point, PARTS, bars))
        groups.append(RowGroup(lines, point))
    if not panels:
        return None
    name = view.price_name(results, price)
    table = Table("The numbers of this figure", ["arm", *PARTS, "sum", "moving"], groups, frozenset(range(1, 6)), True)
    figure = Panels(panels, [], f"Computing, waiting and moving of every arm, {name}", PARTS)
    return Figure(slug(f"parts {price}"), name, figure, "In each panel the longest bar fills the width.", table)
