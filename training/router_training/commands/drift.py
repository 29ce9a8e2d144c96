"""`router-train drift`: is the traffic still what the champion was trained on?"""

from pathlib import Path
from typing import Annotated

import typer

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
from router_training.registry import Registry

Psi = Annotated[float, typer.Option(min=0, help="PSI of a feature; warnings from 0.4 of it on.")]
Gap = Annotated[float, typer.Option(min=0, help="Growth of |observed - predicted| of a model.")]
Rate = Annotated[float, typer.Option(min=0, help="Change of a model's share of adequate answers.")]
Missing = Annotated[float, typer.Option(min=0, help="Change of the share without an outcome.")]
Price = Annotated[float, typer.Option(min=0, help="Relative change of a model's cost or price.")]
New = Annotated[float, typer.Option(min=0, max=1, help="Share of new clients, models, tenants.")]
Quarantine = Annotated[float, typer.Option(min=0, help="Growth of the share of unusable rows.")]
Level = Annotated[float, typer.Option(min=1e-6, max=0.5, help="Chance of any false alarm.")]
Least = Annotated[int, typer.Option(min=2, help="Fewest observations of each comparison.")]


@app.command(epilog="Example: router-train drift --state ./var --days 7")
def drift(
    state: State = DEFAULT_STATE,
    since: Annotated[
        str | None, typer.Option(help="Begin of the window, an ISO time (UTC if it says none).")
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0, help="Length of the window before the latest decision.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's traffic.")] = None,
    out: Annotated[Path | None, typer.Option(help="Another copy of the report, JSON.")] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            envvar="ROUTER_CATALOG",
            help="TOML with own models and prices, laid over the service's catalog.",
        ),
    ] = None,
    psi: Psi = 0.25,
    calibration: Gap = 0.05,
    outcome: Rate = 0.1,
    missing: Missing = 0.1,
    price: Price = 0.2,
    newcomers: New = 0.25,
    quarantine: Quarantine = 0.05,
    level: Level = 0.05,
    min_n: Least = 30,
    params_file: ParamsFile = None,
) -> None:
    """Compare the latest traffic with what the champion was trained on; exit code 1 on alarm.

    The window is what came after the champion's training, unless --since or --days says
    otherwise. Writes drift.json (for the service's metrics) and drift_report.json into the
    state folder, and a run of kind "drift" into MLflow.
    """
    with one_line_errors():
        from router_training.catalog_in_use import current_catalog
        from router_training.drift_rates import Thresholds
        from router_training.drift_report import render_drift
        from router_training.drift_run import look_at_drift, publish

        if since is not None and days is not None:
            raise typer.BadParameter("--since and --days: got both, expected one")
        require_folder(state, "--state")
        registry = Registry(state)
        report = look_at_drift(
            state,
            champion=registry.find("champion"),
            tenant=tenant,
            since_ms=None if since is None else milliseconds(since),
            days=days,
            rule=params_of(params_file).adequacy,
            thresholds=Thresholds(
                psi=psi,
                calibration=calibration,
                outcome=outcome,
                missing=missing,
                price=price,
                newcomers=newcomers,
                quarantine=quarantine,
                level=level,
                min_n=min_n,
            ),
            catalog=current_catalog(state, *(() if catalog is None else (catalog,))),
        )
        run_id = publish(report, state, registry, out=out)
        typer.echo(render_drift(report))
        typer.echo(f"\nreport: {state / 'drift_report.json'}, MLflow run {run_id}")
        if report.alarms:
            raise typer.Exit(1)
