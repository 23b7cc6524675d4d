"""What psgd doctor found, for tests."""

from pathlib import Path

from psgd.doctor.finding import Finding


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def only(findings: list[Finding], check: str) -> Finding:
    (found,) = (each for each in findings if each.check == check)
    return found


def has(finding: Finding, level: str, *words: str) -> None:
    assert finding.level == level, finding
    assert not [word for word in words if word not in finding.line()], finding
