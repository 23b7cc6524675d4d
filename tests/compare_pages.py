"""The page of a report, and a check that it is well formed."""

from html.parser import HTMLParser
from typing import Any

import pytest
from compare_findings import times
from compare_results import results

import psgd.compare.report.write as write
from psgd.compare.report import view
from psgd.compare.report.document import compose
from psgd.compare.report.html import Page

VOID = {"meta", "input", "br", "link", "img"}


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
