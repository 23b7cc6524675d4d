"""A module in Ray's place, for tests that run no Ray."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest


def fake_ray(
    monkeypatch: pytest.MonkeyPatch, version: str = "2.60.0", ip: str = "127.0.0.1", **methods: Any
) -> list[str]:
    """Put a module in Ray's place -> the calls of init and shutdown, as they come."""
    calls: list[str] = []
    ray = SimpleNamespace(
        __version__=version,
        is_initialized=lambda: False,
        init=lambda where, **_: calls.append(f"init {where}"),
        shutdown=lambda: calls.append("shutdown"),
        util=SimpleNamespace(get_node_ip_address=lambda: ip),
    )
    vars(ray).update(methods)
    monkeypatch.setitem(sys.modules, "ray", ray)
    return calls


def fail(error: BaseException) -> Any:
    def raise_it(*_: Any, **__: Any) -> None:
        raise error

    return raise_it
