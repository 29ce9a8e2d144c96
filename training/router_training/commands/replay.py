"""`router-train replay`: what policies would have cost over recorded sessions, caches included."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from tqdm import tqdm

from router_training.commands.shared import app, one_line_errors, require_folder


@app.command(epilog="Example: router-train replay --data DIR --min-adequacy 0.7 --out replay.json")
def replay(
    data: Annotated[
        Path, typer.Option(help="Folder with requests, outcomes, steps*, messages*.parquet.")
    ],
    artifact: Annotated[
        Path | None, typer.Option(help="Artifact that predicts; the shipped starter without it.")
    ] = None,
    min_adequacy: Annotated[
        float,
        typer.Option(min=0, max=1, help="Least P(adequate) of every answer: bills then compare."),
    ] = 0.8,
    total_cost: Annotated[
        bool,
        typer.Option(
            "--total-cost",
            help="The artifact's own rule instead: least cost with what failing costs. Then a "
            "higher bill may buy fewer failures, and total costs compare.",
        ),
    ] = False,
    strengths: Annotated[
        str,
        typer.Option(
            help="P(adequate) of the models: predicted, recorded (success on the session's task) "
            "or differ (a scenario: the first model is better at main turns, others at results)."
        ),
    ] = "predicted",
    models: Annotated[
        str | None, typer.Option(help="Only these models, after commas; all priced ones else.")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(min=2, help="This many sessions, drawn at random.")
    ] = None,
    lock_tool_results: Annotated[
        bool,
        typer.Option(
            "--lock-tool-results", help="As if providers kept the state of open tool calls."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where the JSON report goes.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, the halves, the intervals.")] = 0,
) -> None:
    """Bill the router beside sticky, greedy and fixed policies over recorded sessions."""
    from router_training.session_strengths import Strengths

    if strengths not in get_args(Strengths):
        allowed = ", ".join(get_args(Strengths))
        raise typer.BadParameter(f"--strengths: got {strengths!r}, expected one of {allowed}")
    require_folder(data, "--data")
    if artifact is not None:
        require_folder(artifact, "--artifact")
    with one_line_errors():
        from router_training.session_replay_report import render, write_json
        from router_training.session_study import ReplayOptions, load_router, replay_folder

        router, economics = load_router(artifact)
        options = ReplayOptions(
            strengths=cast(Strengths, strengths),
            min_adequacy=None if total_cost else min_adequacy,
            models=None if models is None else tuple(part.strip() for part in models.split(",")),
            n_sessions=sessions,
            lock_tool_results=lock_tool_results,
            economics=economics,
            seed=seed,
        )
        with tqdm(unit="step", delay=1, disable=None) as bar:

            def progress(step: str, done: int, total: int) -> None:
                bar.total = total
                bar.set_description(step, refresh=False)
                bar.update(done - bar.n)

            report = replay_folder(data, router, options=options, progress=progress)
        typer.echo(render(report))
        if out is not None:
            write_json(report, out)
            typer.echo(f"\nreport: {out}")
