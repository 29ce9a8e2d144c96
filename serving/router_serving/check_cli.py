"""The command `router-serve check-config`: would the service start like this, and run well?"""

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Annotated, Any

import typer

from router_model.errors import RouterError
from router_serving.config_checks import Finding, findings
from router_serving.settings import Settings, read_settings

EPILOG = "Example: router-serve check-config --state-dir ./var"
_ANSWER_S = 2.0


def command_for(bound: Callable[[Settings], socket]) -> Callable[..., None]:
    """The command; `bound` opens the listening socket as a start would."""

    def check_config(
        host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
        port: Annotated[int | None, typer.Option(help="TCP port.")] = None,
        artifact: Annotated[Path | None, typer.Option(help="Artifact folder.")] = None,
        state_dir: Annotated[Path | None, typer.Option(help="Folder of log and artifact.")] = None,
        allow_keyless: Annotated[
            bool | None, typer.Option("--allow-keyless", help="As for a start.")
        ] = None,
    ) -> None:
        """Check settings and everything that they name; start nothing and change nothing.

        Takes the same variables ROUTER_<NAME> as a start. Exit codes: 0 it would start (warnings
        are for you to judge), 1 it would not, 2 usage.
        """
        given: dict[str, Any] = {
            "host": host,
            "port": port,
            "artifact": artifact,
            "state_dir": state_dir,
            "allow_keyless": allow_keyless,
        }
        failed = _show({name: v for name, v in given.items() if v is not None}, bound)
        raise typer.Exit(1 if failed else 0)

    return check_config


def _show(given: dict[str, Any], bound: Callable[[Settings], socket]) -> bool:
    """Print every finding as it is made; True when one is FAIL."""
    try:
        settings = read_settings(given)
    except RouterError as error:
        _tell(Finding("settings", "FAIL", str(error)))
        return True
    failed = False
    for finding in findings(settings, os.environ):
        _tell(finding)
        failed |= finding.verdict == "FAIL"
    port = _port(settings, bound)
    _tell(port)
    return failed or port.verdict == "FAIL"


def _port(settings: Settings, bound: Callable[[Settings], socket]) -> Finding:
    try:
        bound(settings).close()
    except RouterError as error:
        if _is_served(settings):
            said = f"{settings.port}: a router answers there; this one can't start beside it"
            return Finding("port", "WARN", said)
        return Finding("port", "FAIL", str(error))
    return Finding("port", "OK", f"{settings.port} is free on {settings.host}")


def _is_served(settings: Settings) -> bool:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        url = f"http://{host}:{settings.port}/healthz"
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            content: bytes = answer.read(100)
    except (OSError, ValueError):
        return False
    return content == b'{"status":"ok"}'


def _tell(finding: Finding) -> None:
    typer.echo(f"{finding.verdict:<5} {finding.name:<12} {finding.said}")
