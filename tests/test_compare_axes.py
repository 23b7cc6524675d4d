"""Numbers, axes and bands of the report of a comparison."""

import math

import pytest

from psgd.compare import numbers
from psgd.compare.numbers import NONE
from psgd.compare.report import axes, bands
from psgd.compare.report.panels import Axis


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.seconds(0.000123), "123 µs"),
        (numbers.seconds(0.0999), "99.9 ms"),
        (numbers.seconds(12.345), "12.3 s"),
        (numbers.seconds(119.96), "120 s"),
        (numbers.seconds(185), "3.08 min"),
        (numbers.seconds(7200), "2.00 h"),
        (numbers.seconds(0), "0 s"),
        (numbers.seconds(None), NONE),
        (numbers.data_size(210_600), "211 kB"),
        (numbers.data_size(1_500_000_000), "1.50 GB"),
        (numbers.data_size(12), "12 B"),
        (numbers.bandwidth(3.4e8, 2), "340 Mbit/s"),
        (numbers.digits(0.0440, 3), "0.0440"),
        (numbers.digits(9.996, 3), "10.0"),
        (numbers.digits(math.nan), NONE),
        (numbers.digits(2.5e9, 2), "2.5e+09"),
        (numbers.count(1234567), "1\u202f234\u202f567"),
    ],
)
def test_numbers_have_few_digits_and_a_unit(text, expected):
    assert text == expected


def test_ticks_are_round_numbers_within_the_axis():
    assert [v for v, _ in axes.ticks(Axis("", "linear", 0.0, 204.0))] == [0, 50, 100, 150, 200]
    assert [label for _, label in axes.ticks(Axis("", "log", 0.9, 1200.0))] == ["1", "10", "100", "1000"]
    assert [label for _, label in axes.ticks(Axis("", "ones", 0.7, 0.96))] == ["0.8", "0.9", "0.95"]
    assert axes.decades([1.0, 10.0, 100.0, 1000.0], 2) == [(1.0, 0.0), (100.0, 2.0)]


def test_an_axis_places_its_ends_at_0_and_1_and_equal_ratios_equally():
    log = Axis("", "log", 1.0, 100.0)
    assert [axes.fraction_along(log, v) for v in (1.0, 10.0, 100.0)] == pytest.approx([0, 0.5, 1])
    ones = Axis("", "ones", 0.0, 0.99)  # distances to 1 of 1, 0.1, 0.01
    assert [axes.fraction_along(ones, v) for v in (0.0, 0.9, 0.99)] == pytest.approx([0, 0.5, 1])


def test_an_axis_is_logarithmic_only_where_lines_end_far_apart():
    assert axes.axis_of("", [1.0, 200.0], [150.0, 200.0]).kind == "linear"
    assert axes.axis_of("", [1.0, 200.0], [2.0, 200.0]).kind == "log"


def test_a_run_that_diverged_counts_as_the_worst_and_the_band_is_of_the_others():
    runs = [[0.5, 0.8], [0.6, 0.9], [0.7]]
    first, second = bands.points(runs, higher=True)
    assert first == bands.Point(0, 3, 0.6, 0.5, 0.7)
    assert second == bands.Point(1, 2, 0.8, 0.8, 0.9)  # of -inf, 0.8, 0.9
    assert bands.points(runs, higher=False)[1].median == 0.9  # of 0.8, 0.9, inf
    assert [p.at for p in bands.points([[0.5, 0.8], [0.6], [math.nan]], higher=True)] == [0]  # most are gone


def test_thinning_keeps_the_last_point():
    points = bands.points([[i / 100 for i in range(100)]], higher=True)
    assert [p.at for p in bands.thinned(points, 10)] == [9, 19, 29, 39, 49, 59, 69, 79, 89, 99]
    assert bands.thinned(points[:5], 10) == points[:5]
