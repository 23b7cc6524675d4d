"""The directory of the user's cache."""

from pathlib import Path

import pytest

from psgd.core import user_cache as cache


@pytest.mark.parametrize(
    ("given", "home", "wanted"),
    [("/c", "/h", "/c/psgd"), ("", "/h", "/h/.cache/psgd"), ("relative/c", "/h", "/h/.cache/psgd")],
)
def test_the_cache_follows_the_xdg_rules(monkeypatch, given, home, wanted):
    """A relative path counts as not given."""
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", home)
    assert cache.directory() == Path(wanted)


def test_without_a_home_directory_it_is_an_error(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(OSError, match="XDG_CACHE_HOME"):
        cache.directory()
