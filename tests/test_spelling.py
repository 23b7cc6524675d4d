"""Categories are found as pandas hands them over: as floats where a cell is missing, as truth values, as numpy's."""

import numpy as np
import pytest

from psgd.data.sources.spelling import codes_of
from psgd.learners.raw_inputs import prepare_table


@pytest.mark.parametrize(
    ("categories", "value", "found"),
    [
        (["1", "2"], np.float64(2.0), "2"),
        (["1", "2"], np.float32(2.0), "2"),
        (["1", "2"], np.int8(2), "2"),
        (["1", "2"], "2.0", "2"),
        (["-1", "1e3"], 1000, "1e3"),
        (["1.0", "2.0"], 2, "2.0"),
        (["1", "1.0"], 1.0, "1.0"),
        (["1", "1.0"], 1, "1"),
        (["0.5", "1.50"], 1.5, "1.50"),
        (["007", "7"], 7.0, "7"),
        (["007", "8"], 7.0, None),
        (["007", "8"], "7", None),
        (["007", "8"], "007", "007"),
        (["False", "True"], np.True_, "True"),
        (["FALSE", "TRUE"], True, "TRUE"),
        (["false", "true"], True, "true"),
        (["0", "1"], True, None),
        (["a", "b"], np.str_("b"), "b"),
        (["a", "b"], "B", None),
    ],
)
def test_a_category_is_found_as_it_is_written_or_as_pandas_writes_it(categories, value, found):
    column = {"name": "k", "kind": "one-hot", "categories": categories, "missing": categories[0]}
    X, _, _, unseen = prepare_table([{"k": value}], {"columns": [column], "target": {"name": "y"}})
    assert [categories[place] for place in np.flatnonzero(X)] == [found or categories[0]]
    assert ([] if found else [f"k: 1 with a category that no training row has ({str(value)!r})"]) == [
        note.split(",")[0] for note in unseen
    ]
    if found:  # what exports find by the texts alone
        assert codes_of(categories)[str(value)] == categories.index(found)
