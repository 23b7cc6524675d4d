"""Imports ray, as the only module that does, and says which Ray is meant: RAY_ADDRESS, or one to be started here."""

import os
import secrets
import sys
from typing import Any

from psgd.core.errors import UsageError
from psgd.core.optional import what_to_install

LOCAL = "local"
CLIENT = "ray://"  # how addresses of Ray's client begin, which cannot tell its references apart
INSTEAD_OF_CLIENT = "call psgd on a machine of the cluster with RAY_ADDRESS=HOST:6379, or through ray job submit"


def address() -> str:
    """The address of a running cluster, or LOCAL."""
    return os.environ.get("RAY_ADDRESS") or LOCAL


def import_ray() -> Any:
    """The module ray. UsageError if it is missing or broken."""
    if "ray" not in sys.modules and address() == LOCAL:
        _prepare_local()
    try:
        import ray
    except Exception as error:
        raise UsageError(f"group ray needs {what_to_install(error, 'ray', 'psgd[ray]')}") from None
    return ray


def through_client(ray_address: str) -> bool:
    """Whether this process is connected by Ray's client, or would be at this address."""
    client = sys.modules.get("ray.util.client")
    return ray_address.startswith(CLIENT) or (client is not None and client.ray.is_connected())


def _prepare_local() -> None:
    """Set the variables that make a Ray started here listen on loopback only, and demand a token that only this
    process and its children know; and start no processes besides those of actors. Ray reads them when it is imported.
    """
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux too, Ray then takes the loopback address for its own
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_prestart_worker_first_driver": "0",
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
