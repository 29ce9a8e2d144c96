"""`router-train gate`, `promote`, `export`, `rollback`: which version serves."""

from pathlib import Path
from typing import Annotated

import typer

from router_training.commands.shared import (
    DEFAULT_STATE,
    ParamsFile,
    SignKey,
    State,
    alias_of,
    app,
    export_alias,
    one_line_errors,
    params_of,
    promote_challenger,
    require_folder,
)
from router_training.registry import Registry


@app.command(epilog="Example: router-train gate --state ./var")
def gate(
    state: State = DEFAULT_STATE,
    margin: Annotated[
        float, typer.Option(min=0, help="Net utility that may be lost, in inadequate answers.")
    ] = 0.02,
    min_slice: Annotated[
        int, typer.Option(min=2, help="Fewest decisions of a tenant or step type looked at.")
    ] = 100,
    params_file: ParamsFile = None,
) -> None:
    """Judge the challenger against the champion on the newest log; exit code 1 on objections."""
    with one_line_errors():
        from router_training.gate import Limits, render_gate
        from router_training.gate_again import judge_again

        require_folder(state, "--state")
        report = judge_again(
            state,
            Registry(state),
            params=params_of(params_file),
            limits=Limits(margin=margin, min_slice=min_slice),
        )
        typer.echo(render_gate(report))
        if report.reasons:
            raise typer.Exit(1)


@app.command(epilog="Example: router-train promote --state ./var")
def promote(
    state: State = DEFAULT_STATE,
    force: Annotated[
        bool, typer.Option("--force", help="Promote even if the gate objected.")
    ] = False,
    sign_key: SignKey = None,
) -> None:
    """Make the challenger champion and export it to the service; refused when the gate objects."""
    with one_line_errors():
        require_folder(state, "--state")
        registry = Registry(state)
        verdict = registry.get("challenger").tags.get("gate", "not judged")
        if verdict != "passed" and not force:
            for reason in verdict.splitlines():
                typer.echo(f"gate: {reason}", err=True)
            raise typer.Exit(1)
        promote_challenger(registry, state, sign_key=sign_key)


@app.command(epilog="Example: router-train export --alias champion --dest ./var/artifact")
def export(
    state: State = DEFAULT_STATE,
    alias: Annotated[str, typer.Option(help="champion, challenger or previous.")] = "champion",
    dest: Annotated[
        Path | None, typer.Option(help="Folder; the one the service reads by default.")
    ] = None,
    sign_key: SignKey = None,
) -> None:
    """Write the artifact of an alias where the service looks for it."""
    with one_line_errors():
        chosen = alias_of(alias)
        require_folder(state, "--state")
        export_alias(Registry(state), chosen, dest or state / "artifact", sign_key=sign_key)


@app.command(epilog="Example: router-train rollback --state ./var")
def rollback(state: State = DEFAULT_STATE, sign_key: SignKey = None) -> None:
    """Exchange champion and previous, and export."""
    with one_line_errors():
        require_folder(state, "--state")
        registry = Registry(state)
        version = registry.rollback()
        typer.echo(f"champion: version {version.number} (rolled back)")
        export_alias(registry, "champion", state / "artifact", sign_key=sign_key)
