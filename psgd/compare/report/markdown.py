"""A report as Markdown: text and tables, and links to the figures' files."""

import re

from psgd.compare.report.blocks import Block, Bullets, Code, Document, Figure, Paragraph, Section, Sliders, Table


def markdown(document: Document) -> str:
    """Write the whole report."""
    parts = [f"# {escaped(document.title)}", escaped(document.about)]
    for section in document.sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text in which nothing is markup, on one line."""
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    text = re.sub(r"^([#+-])", r"\\\1", text)
    text = re.sub(r"^(\d+)([.)])(?= )", r"\1\\\2", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(section: Section) -> list[str]:
    parts = [f"{'###' if section.sub else '##'} {escaped(section.title)}"]
    for block in section.blocks:
        parts += _block(block)
    return parts


def _block(block: Block) -> list[str]:
    if isinstance(block, Paragraph):
        return [f"**{escaped(block.text)}**" if block.kind == "warning" else escaped(block.text)]
    if isinstance(block, Bullets):
        items = "\n".join(f"- {escaped(item)}" for item in block.items)
        return [f"{escaped(block.summary)}:", items] if block.summary else [items]
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Code):
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
        return [f"{escaped(block.caption)}:", f"{fence}\n{block.text}\n{fence}"]
    if isinstance(block, Figure):
        return [
            f"**{escaped(block.title)}**",
            f"![{escaped(block.panels.description)}](figures/{block.name}.svg)",
            escaped(block.caption),
            *(_table(block.table) if block.table else []),
        ]
    assert isinstance(block, Sliders)  # they need a script
    return []


def _table(table: Table) -> list[str]:
    grouped = any(group.heading for group in table.groups)
    head = ["", *table.head] if grouped else table.head
    rule = [":--" if not _right(table, i - grouped) else "--:" for i in range(len(head))]
    lines = [_line(head), _line(rule, raw=True)]
    for group in table.groups:
        for number, row in enumerate(group.rows):
            lines.append(_line([group.heading if number == 0 else "", *row] if grouped else row))
    return [f"*{escaped(table.caption)}*", "\n".join(lines)]


def _right(table: Table, column: int) -> bool:
    return column in table.numeric


def _line(cells: list[str], raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else escaped(cell.replace("\n", "; ")) for cell in cells) + " |"
