"""What the commands of `router-data` share: state, encoder, and how errors are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from router_model.artifact import STARTER
from router_model.encoder import TABLE_FILE, StaticEncoder
from router_model.errors import RouterError

State = Annotated[
    Path,
    typer.Option("--state", envvar="ROUTER_STATE_DIR", help="Folder of the service's state."),
]
Encoder = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        help="Artifact whose text encoder to use; default the state's, else the shipped one.",
    ),
]
DEFAULT_STATE = Path("var")


def existing(state: Path) -> Path:
    """The state folder; wrong usage where it is none, so that a mistyped one is no empty log."""
    if not state.is_dir():
        raise typer.BadParameter(f"--state: no folder {state}, expected the state of a service")
    return state


def made(state: Path) -> Path:
    """The state folder, made where it is not there yet; wrong usage where it can't be."""
    try:
        state.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise typer.BadParameter(f"--state: {state} is a file, expected a folder") from None
    except OSError as error:
        why = error.strerror or error
        raise typer.BadParameter(f"--state: can't make the folder {state}: {why}") from None
    return state


@contextmanager
def reported() -> Iterator[None]:
    """Turn our own errors, and those of files, into a message and exit code 1."""
    try:
        yield
    except (RouterError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def chosen_encoder(folder: Path | None, state: Path) -> StaticEncoder:
    """The encoder of the given folder, else of the artifact in use, else the shipped one."""
    if folder is not None:
        return StaticEncoder.load(folder)
    used = state / "artifact"
    return StaticEncoder.load(used if (used / TABLE_FILE).is_file() else STARTER)
