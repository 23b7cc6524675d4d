"""When training stops early and which evaluation is the best, counted by hand."""

from psgd.training.early_stop import StopRule


def by_hand(values: list[float], rule: StopRule) -> tuple[int, int]:
    """(the evaluation after which training stops, or the last one; the best until then); greater is better."""
    for last in range(len(values)):
        recent = range(max(1, last - rule.patience + 1), last + 1)
        gains = [values[n] > max(values[:n]) + rule.minimum for n in recent]
        if len(gains) == rule.patience and not any(gains):
            break
    return last, values.index(max(values[: last + 1]))
