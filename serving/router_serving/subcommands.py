"""What the commands below `router-serve` share: whose state, and how they refuse."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from router_model.errors import RouterError
from router_serving.settings import Settings, read_settings

StateDir = Annotated[
    Path | None, typer.Option(help="Folder of the service's state [ROUTER_STATE_DIR or ./var].")
]


def settings_in(context: typer.Context, state_dir: Path | None) -> Settings:
    """The settings of the service; a state folder given before the subcommand counts as well."""
    given = state_dir or context.find_root().params.get("state_dir")
    return read_settings({} if given is None else {"state_dir": given})


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """End `router-serve NAME` with 1 and one line for what we refuse on purpose."""
    try:
        yield
    except RouterError as error:
        typer.echo(f"router-serve {name}: {error}", err=True)
        raise typer.Exit(1) from None
