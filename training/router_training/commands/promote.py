"""`router-train promote`, `export`, `rollback`: which version serves."""

from pathlib import Path
from typing import Annotated

import typer

from router_training.commands.shared import (
    DEFAULT_STATE,
    State,
    alias_of,
    app,
    export_alias,
    one_line_errors,
    promote_challenger,
    report_gate,
    require_folder,
)
from router_training.registry import Registry


@app.command(epilog="Example: router-train promote --state ./var")
def promote(
    state: State = DEFAULT_STATE,
    force: Annotated[
        bool, typer.Option("--force", help="Promote even if the gate objected.")
    ] = False,
) -> None:
    """Make the challenger champion and export it to the service."""
    with one_line_errors():
        require_folder(state, "--state")
        registry = Registry(state)
        gate = registry.get("challenger").tags.get("gate", "passed")
        if gate != "passed" and not force:
            report_gate((gate,))
            raise typer.Exit(1)
        promote_challenger(registry, state)


@app.command(epilog="Example: router-train export --alias champion --dest ./var/artifact")
def export(
    state: State = DEFAULT_STATE,
    alias: Annotated[str, typer.Option(help="champion, challenger or previous.")] = "champion",
    dest: Annotated[
        Path | None, typer.Option(help="Folder; the one the service reads by default.")
    ] = None,
) -> None:
    """Write the artifact of an alias where the service looks for it."""
    with one_line_errors():
        chosen = alias_of(alias)
        export_alias(Registry(state), chosen, dest or state / "artifact")


@app.command(epilog="Example: router-train rollback --state ./var")
def rollback(state: State = DEFAULT_STATE) -> None:
    """Exchange champion and previous, and export."""
    with one_line_errors():
        registry = Registry(state)
        version = registry.rollback()
        typer.echo(f"champion: version {version.number} (rolled back)")
        export_alias(registry, "champion", state / "artifact")
