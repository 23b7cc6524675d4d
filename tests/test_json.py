"""JSON as psgd writes it."""

import json
import math

import numpy as np
import pytest

from psgd.core.files import to_json


def test_json_has_null_where_a_number_is_not_finite():
    value = {"loss": math.nan, "weights": [0.5, math.inf], "scores": {"test": (np.float64("-inf"), 1)}, "name": "nan"}
    assert json.loads(to_json(value), parse_constant=pytest.fail) == {
        "loss": None, "weights": [0.5, None], "scores": {"test": [None, 1]}, "name": "nan",
    }  # fmt: skip


def test_indented_json_has_a_list_of_numbers_in_one_line():
    value = {"weights": [0.5, None, 1e-9], "rows": [[1, 2], []], "text": ["a [\n 1\n]", 2], "both": [{"weights": [1]}]}
    text = to_json(value, indent=2)
    assert json.loads(text) == value
    assert '"weights": [0.5, null, 1e-09],' in text
    assert "    [1, 2],\n" in text
