"""`router-train savings`: what the router saves of what is really paid."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from tqdm import tqdm

from router_training.commands.shared import (
    DEFAULT_STATE,
    ParamsFile,
    State,
    app,
    milliseconds,
    one_line_errors,
    params_of,
    require_folder,
)
from router_training.empty_log import require_log


@app.command(epilog="Example: router-train savings --state ./var --since 2026-01-31")
def savings(
    state: State = DEFAULT_STATE,
    tenant: Annotated[str | None, typer.Option(help="This tenant's calls only.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Sessions that began since this ISO date or time (UTC).")
    ] = None,
    core_hour_usd: Annotated[
        float, typer.Option(min=0, help="What an hour of one core costs, for the router itself.")
    ] = 0.05,
    artifact: Annotated[
        Path | None, typer.Option(help="Prices and caches of this artifact; else those in use.")
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="The ROUTER_CATALOG of the service.")] = None,
    resamples: Annotated[
        int, typer.Option(min=2, help="Resamples of sessions behind the estimate's interval.")
    ] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    params_file: ParamsFile = None,
) -> None:
    """Compare what was paid with and without the router: a trial, and an estimate beside it.

    Sessions that chance dealt out (`adoption` is a share) give a measured saving with interval, the
    calls that kept their own model an estimate. Net of the router's own cost. Exit code 1, and what
    is missing, where the log says too little.
    """
    require_folder(state, "--state")
    since_ms = None if since is None else milliseconds(since)
    with one_line_errors():
        from router_training.savings import SavingsOptions, savings_of
        from router_training.savings_report import render

        require_log(state)
        with tqdm(unit="call", desc="walk sessions", delay=1, disable=None) as bar:

            def progress(n: int) -> None:
                bar.update(n)

            report = savings_of(
                state,
                options=SavingsOptions(
                    tenant=tenant,
                    since_ms=since_ms,
                    core_hour_usd=core_hour_usd,
                    artifact=artifact,
                    overlay=catalog,
                    n_resamples=resamples,
                ),
                params=params_of(params_file),
                progress=progress,
            )
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        else:
            typer.echo(render(report))
