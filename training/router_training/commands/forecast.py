"""`router-train forecast`: how well the costs of recorded calls are known before their bills."""

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from router_training.commands.shared import app, one_line_errors, require_folder


@app.command(epilog="Example: router-train forecast --data DIR --out forecast.json")
def forecast(
    data: Annotated[
        Path, typer.Option(help="Folder with requests.parquet and steps*.parquet with usages.")
    ],
    out: Annotated[Path | None, typer.Option(help="Where the figures go as JSON.")] = None,
    resamples: Annotated[
        int, typer.Option(min=2, help="Resamples of sessions behind the intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the halves and the resamples.")] = 0,
) -> None:
    """Forecast the input cost of every recorded call from what came before, and compare."""
    require_folder(data, "--data")
    with one_line_errors():
        from router_training.cost_forecast import forecast_folder
        from router_training.forecast_report import render, write_json
        from router_training.intervals import Resampling

        with tqdm(unit="model", delay=1, disable=None) as bar:

            def progress(model: str, done: int, total: int) -> None:
                bar.total = total
                bar.set_description(model[:40])
                bar.update(done - bar.n)

            rows = forecast_folder(
                data,
                resampling=Resampling(n_resamples=resamples, seed=seed),
                progress=progress,
            )
        typer.echo(render(rows))
        if out is not None:
            write_json(rows, out)
            typer.echo(f"\nfigures: {out}")
