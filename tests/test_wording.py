"""Numbers, sizes and names as messages say them."""

import pytest

from psgd.core.wording import data_size


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (24e9, "24 GB"),
        (5e12, "5 TB"),
        (75e18, "75,000,000 TB"),
    ],
)
def test_sizes(amount, text):
    assert data_size(amount) == text
