"""`router-train rollout`: try the challenger on live traffic before it is promoted."""

from typing import Annotated

import typer

from router_training.commands.shared import (
    DEFAULT_STATE,
    ParamsFile,
    SignKey,
    State,
    app,
    one_line_errors,
    params_of,
    require_folder,
)
from router_training.registry import Registry

MODES = ("shadow", "canary", "off")


@app.command(epilog="Example: router-train rollout --state ./var --mode canary --share 0.1")
def rollout(
    state: State = DEFAULT_STATE,
    mode: Annotated[str | None, typer.Option(help="shadow, canary or off.")] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of sessions that the canary takes.")
    ] = 0.1,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="How much more often the canary may fail.")
    ] = 0.02,
    delta: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="Chance of stopping a canary that keeps it.")
    ] = 0.05,
    min_outcomes: Annotated[
        int, typer.Option(min=1, help="Sessions of the canary before it can be stopped.")
    ] = 100,
    with_shadow: Annotated[
        bool, typer.Option("--with-shadow", help="Log the other side's decision of a canary too.")
    ] = False,
    show_status: Annotated[
        bool, typer.Option("--status", help="Say how it is doing; also copies it to MLflow.")
    ] = False,
    params_file: ParamsFile = None,
    sign_key: SignKey = None,
) -> None:
    """Export the challenger beside the champion and tell the service what to do with it.

    shadow: the challenger decides beside the champion, its answers are only logged. canary: it
    decides for a share of the sessions, and the service stops it by itself when it fails more
    often than the champion by over the margin. off: the champion decides alone.
    """
    with one_line_errors():
        from router_training import rollout as rollouts
        from router_training.artifacts import checker
        from router_training.rollout_status import render_status, status_of

        if (mode is None) == (not show_status):
            raise typer.BadParameter("--mode: expected one of shadow, canary, off, or --status")
        if mode is not None and mode not in MODES:
            raise typer.BadParameter(f"--mode: got {mode!r}, expected one of {', '.join(MODES)}")
        if mode == "canary" and share <= 0.0:
            raise typer.BadParameter(f"--share: got {share:g}, a canary needs more than 0")
        require_folder(state, "--state")
        registry = Registry(state)
        if mode is None:
            status = status_of(state, registry, rule=params_of(params_file).adequacy)
            typer.echo(render_status(status))
            return
        if mode == "off":
            rollouts.stop(state, registry)
            typer.echo("rollout: off")
            return
        wanted = rollouts.RolloutFile(
            mode="shadow" if mode == "shadow" else "canary",
            share=share if mode == "canary" else 0.0,
            margin=margin,
            delta=delta,
            min_outcomes=min_outcomes,
            shadow=with_shadow and mode == "canary",
        )
        file = rollouts.start(wanted, state, registry, check=checker(sign_key))
        part = f", {file.share:.0%} of sessions" if mode == "canary" else ""
        typer.echo(f"rollout: {mode}{part}, version {file.version}, exported to challenger")
        gate = registry.get("challenger").tags.get("gate", "not checked")
        if gate != "passed":
            typer.echo(f"note: the gate has not passed this version: {gate}", err=True)
