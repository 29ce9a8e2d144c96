"""The command `router-serve`."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
import uvicorn

from router_model.errors import RouterError
from router_serving import check_cli
from router_serving.access import checked_keys
from router_serving.app import Service
from router_serving.descriptors import file_limit_warning, raised_file_limit
from router_serving.errors import StartError
from router_serving.keys import keys_path
from router_serving.keys_cli import keys_app
from router_serving.ledger.building import check_ledger
from router_serving.ledger.switch_cli import switch_app
from router_serving.log_lines import configure_logging
from router_serving.protocol import GuardedProtocol
from router_serving.reload import Loaded, load_current
from router_serving.settings import Settings, read_settings
from router_serving.telemetry import share_counts
from router_serving.tenants import load_tenants
from router_serving.workers import Beat, Workers, leave

BACKLOG = 2048
# Seconds for calls under way once nothing new is accepted, and then for writing the log.
GRACE_S = 20
WRITE_S = 10
SERVER_OPTIONS: Final[Mapping[str, Any]] = {
    "loop": "uvloop",
    "http": GuardedProtocol,
    "ws": "none",
    "access_log": False,
    "log_config": None,
    "server_header": False,
    # Nothing asks who the first of several proxies says that the caller is.
    "proxy_headers": False,
    "date_header": False,
    "timeout_graceful_shutdown": GRACE_S,
    # Longer than gateways keep idle connections, or they write into one that is closing.
    "timeout_keep_alive": 75,
}
EPILOG = "Example: router-serve --port 8080 --state-dir ./var"

app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")
app.add_typer(switch_app, name="switch")


@app.callback(invoke_without_command=True, epilog=EPILOG)
def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one [8080].")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes [1].")] = None,
    artifact: Annotated[
        Path | None, typer.Option(help="Artifact folder, where the state folder has none.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Folder of the log and the artifact [./var].")
    ] = None,
    allow_keyless: Annotated[
        bool | None,
        typer.Option("--allow-keyless", help="Serve others than this machine, without keys."),
    ] = None,
) -> None:
    """Serve decisions over HTTP.

    Every option is also a variable ROUTER_<NAME>; options win. Exit codes: 0 ok, 1 can't start,
    2 usage.
    """
    if context.invoked_subcommand is not None:
        return
    options = {
        "host": host,
        "port": port,
        "workers": workers,
        "artifact": artifact,
        "state_dir": state_dir,
        "allow_keyless": allow_keyless,
    }
    try:
        settings, loaded, listener = prepared(options)
    except RouterError as error:
        typer.echo(f"router-serve: {error}", err=True)
        raise typer.Exit(1) from None
    configure_logging(settings.log_level)
    with listener:
        limit = raised_file_limit()
        typer.echo(welcome(settings, loaded, port=listener.getsockname()[1]))
        if warning := file_limit_warning(limit, max_connections=settings.max_connections):
            typer.echo(f"  WARNING: {warning}")
        sys.exit(run(settings, loaded, listener))


def prepared(options: Mapping[str, Any]) -> tuple[Settings, Loaded, socket.socket]:
    """Everything that a start needs, looked at once before any process is made for it.

    Options that are None are not given. Raises a RouterError that says what is wrong.
    """
    # One row at a time needs one thread; a process with OpenMP threads can't be forked either.
    os.environ["OMP_NUM_THREADS"] = "1"
    settings = settings_of({name: value for name, value in options.items() if value is not None})
    check_ledger(settings)
    loaded = asyncio.run(load_current(settings))
    load_tenants(settings, loaded.router.catalog)
    return settings, loaded, bound(settings)


def settings_of(given: dict[str, Any]) -> Settings:
    """Settings from the environment under the given options; StartError names what is wrong."""
    settings = read_settings(given)
    try:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"--state-dir {settings.state_dir}: can't be created: {error}") from None
    checked_keys(settings)
    return settings


def bound(settings: Settings) -> socket.socket:
    """A listening socket; StartError when the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"--port {settings.port}: can't listen on {settings.host}: {error.strerror}; "
            "expected a free port"
        ) from None
    listener.set_inheritable(True)
    return listener


def welcome(settings: Settings, loaded: Loaded, *, port: int) -> str:
    """What a user needs to see first: the address, a call that works, and where things lie."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{port}"
    keys = checked_keys(settings)
    asking = "" if not len(keys) else " -H 'x-router-api-key: YOUR-KEY'"
    body = {"request": {"messages": [{"role": "user", "content": "Fix the failing test"}]}}
    versions = loaded.router.versions
    lines = [
        f"Serving on {url}",
        f"  try       curl -s {url}/route{asking} -d '{orjson.dumps(body).decode()}'",
        f"  artifact  {versions.artifact} from {loaded.folder}",
        f"  catalog   {versions.catalog}, {len(loaded.router.catalog.enabled)} models",
        f"  state     {settings.state_dir.resolve()}",
        f"  settings  {orjson.dumps(settings.shown(), default=str).decode()}",
    ]
    if len(keys):
        lines.append(f"  keys      {len(keys)} listed in {keys_path(settings)}: one is asked for.")
    elif settings.is_loopback:
        lines.append("  No keys are asked for: whoever can reach this machine's loopback may call.")
    else:
        lines.append("  WARNING: no keys are asked for, and others than this machine may call.")
    return "\n".join(lines)


def run(settings: Settings, loaded: Loaded, listener: socket.socket) -> int:
    """Serve until told to stop; returns the exit code."""

    def serve(beat: Beat | None = None) -> int:
        service = Service(settings, loaded=loaded, beat=beat)
        server = uvicorn.Server(uvicorn.Config(service, **SERVER_OPTIONS))
        server.run([listener])
        return 0 if server.started else 1

    if settings.workers == 1:
        # uvicorn raises the signal again after its shutdown: by then there is nothing left to do.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, leave)
        return serve()
    with tempfile.TemporaryDirectory(prefix="router-metrics-") as folder:
        share_counts(Path(folder))
        end_s = settings.drain_s + GRACE_S + WRITE_S
        return Workers(serve, n_workers=settings.workers, end_s=end_s).run()


app.command("check-config", epilog=check_cli.EPILOG)(check_cli.command_for(bound))
