"""What the commands of `router-train` have in common: the app, options, one-line errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from router_model.errors import RouterError
from router_model.extras import missing_packages
from router_training.params import ParamsError, TrainingParams, load_params
from router_training.registry import ALIASES, Alias, Registry

app = typer.Typer(
    help="Train, evaluate and promote the router's predictor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

State = Annotated[
    Path,
    typer.Option(envvar="ROUTER_STATE_DIR", help="State folder: log, registry, exported artifact."),
]
ParamsFile = Annotated[
    Path | None, typer.Option("--params", help="TOML file; without it every default holds.")
]
SignKey = Annotated[
    Path | None,
    typer.Option(
        envvar="ROUTER_SIGN_KEY",
        help="Ed25519 private key (PEM) that signs what is exported; see serving/operations.md.",
    ),
]
DEFAULT_STATE = Path("var")


def promote_challenger(registry: Registry, state: Path, *, sign_key: Path | None = None) -> None:
    """Make the challenger champion, export it to the service, and end its rollout."""
    from router_training.rollout import is_off, stop

    if not is_off(state):
        stop(state, registry, reason="promoted")
    version = registry.promote()
    typer.echo(f"champion: version {version.number}")
    export_alias(registry, "champion", state / "artifact", sign_key=sign_key)


def export_alias(
    registry: Registry, alias: Alias, dest: Path, *, sign_key: Path | None = None
) -> None:
    """Write the artifact of an alias to a folder, checked and signed first."""
    from router_training.artifacts import checker

    version = registry.export(alias, dest, check=checker(sign_key))
    typer.echo(f"exported: version {version.number} to {dest}")


def alias_of(name: str) -> Alias:
    """The alias of this name; a usage error for any other."""
    for alias in ALIASES:
        if name == alias:
            return alias
    raise typer.BadParameter(f"got {name!r}, expected one of {', '.join(ALIASES)}")


def params_of(path: Path | None) -> TrainingParams:
    """The parameters of a file, the defaults without one."""
    return TrainingParams() if path is None else load_params(path)


def require_folder(path: Path, option: str) -> None:
    """A usage error unless the folder is there."""
    if not path.is_dir():
        raise typer.BadParameter(f"{option}: got {path}, expected an existing folder")


def milliseconds(since: str) -> int:
    """Milliseconds since the epoch of an ISO date or time, UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter(
            f"--since: got {since!r}, expected an ISO date or time such as 2026-01-31"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn our own errors, and those of files, into one line and an exit code."""
    try:
        yield
    except ParamsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except (RouterError, OSError) as error:  # a full disk, a folder that can't be written
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        typer.echo(
            f"error: {missing_packages('training', extra='train', names=[str(error.name)])}",
            err=True,
        )
        raise typer.Exit(1) from error
