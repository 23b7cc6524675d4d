"""Ray: the cluster that RAY_ADDRESS names, whether it answers, and its token. Starts no Ray."""

import os
import socket
from importlib import metadata
from pathlib import Path

from psgd.doctor import program
from psgd.doctor.finding import Finding, note, ok, wrong

_ANSWER_SECONDS = 15.0  # that Ray's own health check may take; importing ray alone takes seconds on a busy machine
_TOKEN_FILE = Path("~/.ray/auth_token")


def check() -> list[Finding]:
    from psgd.group.ray.library import LOCAL, address

    try:
        version = metadata.version("ray")
    except metadata.PackageNotFoundError:
        return []  # the check of packages says so
    ray_address = address()
    if ray_address == LOCAL:
        text = f"{version}; RAY_ADDRESS is not set: group ray starts a Ray of its own, on loopback, closed by a token"
        return [ok("ray", text, version=version)]
    token = judge_token()
    return [token] if token.level == "wrong" else [token, judge_address(version, ray_address)]


def judge_token() -> Finding:
    """Where the token for a cluster comes from. It is never shown."""
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode == "disabled":
        text = "RAY_AUTH_MODE=disabled: whoever reaches the cluster's ports can run programs on it"
        return note("ray", text, "start it with RAY_AUTH_MODE=token")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if os.environ.get("RAY_AUTH_TOKEN"):
        return ok("ray", "the token is in RAY_AUTH_TOKEN")
    for file in [Path(named)] if named else [_TOKEN_FILE.expanduser()]:
        if file.is_file():
            return ok("ray", f"the token is in {file}")
    if mode == "token" or named:
        text = "RAY_AUTH_MODE is token, but there is none" if not named else f"there is no token file {named}"
        return wrong("ray", text, "set RAY_AUTH_TOKEN to the token of the cluster's head")
    return note("ray", "there is no token: a cluster that wants one refuses", "set RAY_AUTH_TOKEN if it does")


def judge_address(version: str, ray_address: str) -> Finding:
    """Whether the Ray at `ray_address` answers."""
    from psgd.group.ray.connection import check_reachable
    from psgd.group.ray.library import CLIENT, INSTEAD_OF_CLIENT

    text, details = f"{version}; Ray at {ray_address} (RAY_ADDRESS)", {"version": version, "address": ray_address}
    if ray_address.startswith(CLIENT):
        return wrong("ray", f"{text} is Ray's client, which psgd cannot use", INSTEAD_OF_CLIENT, **details)
    try:
        check_reachable(ray_address)
    except (OSError, UnicodeError) as error:
        reason = "no such host" if isinstance(error, socket.gaierror | UnicodeError) else error
        return wrong("ray", f"{text} cannot be reached: {reason}", "start it, or unset RAY_ADDRESS", **details)
    if "://" in ray_address or ":" not in ray_address:
        return note("ray", f"{text} is not of the form HOST:PORT, and was not asked", **details)
    command, variables = program.module("ray.scripts.scripts")
    asked = program.run([*command, "health-check", "--address", ray_address], _ANSWER_SECONDS, **variables)
    if asked.code == 0:
        return ok("ray", f"{text} answers", **details)
    if asked.code is None:
        return wrong("ray", f"{text} does not answer within {_ANSWER_SECONDS:g} s", "start it again", **details)
    if "InvalidAuthToken" in asked.output:
        advice = "set RAY_AUTH_TOKEN to the token of the cluster's head, and RAY_AUTH_MODE=token"
        return wrong("ray", f"{text} refuses this process's token, or its lack of one", advice, **details)
    last = next((line.strip() for line in reversed(asked.output.splitlines()) if line.strip()), "it says nothing")
    advice = "the versions of Ray and Python must be those of the cluster"
    return wrong("ray", f"{text} does not answer as it should: {last}", advice, **details)
