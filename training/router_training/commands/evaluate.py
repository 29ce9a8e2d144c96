"""`router-train evaluate`: the router beside every baseline."""

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from router_training.commands.shared import (
    ParamsFile,
    app,
    one_line_errors,
    params_of,
    require_folder,
)
from router_training.params import ParamsError


@app.command(
    epilog="Example: router-train evaluate --data DIR --out report.json --group-by metadata.repo"
)
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder with requests.parquet, outcomes.parquet.")],
    out: Annotated[Path, typer.Option(help="Where the JSON report goes.")] = Path("report.json"),
    artifact: Annotated[
        Path | None, typer.Option(help="Evaluate this artifact instead of fitting on folds.")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Column of requests, or metadata.KEY, never split between folds."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=0, help="Folds; 0 leaves out one group at a time.")
    ] = None,
    max_contexts: Annotated[
        int | None, typer.Option(min=2, help="Evaluate on a random part of this size.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for PNG pictures.")] = None,
    params_file: ParamsFile = None,
) -> None:
    """Compare the router with every baseline on a folder of outcomes."""
    with one_line_errors():
        from msgspec.structs import replace

        from router_training import plots as pictures
        from router_training.evaluate import Options, evaluate_folder
        from router_training.render import render
        from router_training.report import write_json

        params = params_of(params_file)
        if folds == 1:
            raise ParamsError("--folds: got 1, expected 0 (one per group) or at least 2")
        if folds is not None:
            params = replace(params, n_folds=folds)
        require_folder(data, "--data")
        if artifact is not None:
            require_folder(artifact, "--artifact")
        with tqdm(unit="fit", delay=1) as bar:

            def progress(step: str, done: int, total: int) -> None:
                bar.total = total
                bar.set_description(step)
                bar.update(done - bar.n)

            report = evaluate_folder(
                data,
                params=params,
                options=Options(group_by=group_by, max_contexts=max_contexts),
                artifact=artifact,
                progress=progress,
            )
        write_json(report, out)
        typer.echo(render(report))
        typer.echo(f"\nreport: {out}")
        if plots is not None:
            for path in pictures.write_plots(report, plots):
                typer.echo(f"plot: {path}")
