"""`router-train`: train, evaluate, promote, export, roll back.

Exit codes: 0 ok, 1 a check failed or the data can't be used, 2 wrong usage.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from router_model.errors import RouterError
from router_training.params import ParamsError, TrainingParams, load_params
from router_training.registry import ALIASES, Alias, Registry

app = typer.Typer(
    help="Train, evaluate and promote the router's predictor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

State = Annotated[
    Path,
    typer.Option(envvar="ROUTER_STATE_DIR", help="State folder: log, registry, exported artifact."),
]
ParamsFile = Annotated[
    Path | None, typer.Option("--params", help="TOML file; without it every default holds.")
]
_STATE = Path("var")


@app.command(epilog="Example: router-train run --state ./var --params training/params.toml")
def run(
    state: State = _STATE,
    params_file: ParamsFile = None,
    note: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Markdown for the model card.")
    ] = None,
    promote_now: Annotated[
        bool, typer.Option("--promote", help="Promote and export when the gate has no objection.")
    ] = False,
) -> None:
    """Train on the log, evaluate on its latest part, register a challenger."""
    with _one_line_errors():
        from router_training import pipeline, render
        from router_training.artifacts import tools

        params = _params(params_file)
        _require_folder(state, "--state")
        registry = Registry(state)
        with (
            tempfile.TemporaryDirectory() as work,
            tqdm(total=len(pipeline.STEPS), unit="step") as bar,
        ):

            def on_step(step: str) -> None:
                bar.set_description(step)
                bar.update()

            result = pipeline.run(
                state,
                params=params,
                registry=registry,
                tools=tools(params, state),
                work=Path(work),
                note="" if note is None else note.read_text(encoding="utf-8").strip() + "\n\n",
                on_step=on_step,
            )
            bar.update(len(pipeline.STEPS) - bar.n)
        for report in result.reports.values():
            typer.echo(render.render(report) + "\n")
        if not result.reports:
            typer.echo("no request was answered by two models: probabilities only, no policies")
        for name in ("expected_calibration_loss", "brier_loss", "auc_score"):
            if name in result.metrics:
                typer.echo(f"{name}: {result.metrics[name]:.4f}")
        typer.echo(
            f"challenger: version {result.version.number}, trained on {result.n_train}, "
            f"calibrated on {result.n_calibrate}, tested on {result.n_test} requests"
        )
        _report_gate(result.against)
        if promote_now and result.against:
            raise typer.Exit(1)
        if promote_now:
            _promote(registry, state)


@app.command(
    "encoder", epilog="Example: router-train encoder ./my-model --dimension 128 --out ./encoder"
)
def export_encoder(
    name: Annotated[
        str, typer.Argument(help="wordllama, or a sentence-transformers model by name or folder.")
    ] = "wordllama",
    out: Annotated[Path, typer.Option(help="Folder for the table and the tokenizer.")] = Path(
        "encoder"
    ),
    dimension: Annotated[int, typer.Option(min=1, help="Leading dimensions to keep.")] = 128,
) -> None:
    """Export a text encoder as a static table, for `router-data import --encoder`."""
    with _one_line_errors():
        from router_model.encoder import StaticEncoder

        encoder = StaticEncoder.from_sentence_transformer(name, dimension=dimension)
        out.mkdir(parents=True, exist_ok=True)
        encoder.save(out)
        rows, kept = encoder.table.shape
        typer.echo(f"{out}: {rows} tokens, {kept} dimensions, encoder {encoder.hash}")


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
    with _one_line_errors():
        from msgspec.structs import replace

        from router_training import plots as pictures
        from router_training.evaluate import Options, evaluate_folder
        from router_training.render import render
        from router_training.report import write_json

        params = _params(params_file)
        if folds == 1:
            raise ParamsError("--folds: got 1, expected 0 (one per group) or at least 2")
        if folds is not None:
            params = replace(params, n_folds=folds)
        _require_folder(data, "--data")
        if artifact is not None:
            _require_folder(artifact, "--artifact")
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


@app.command(epilog="Example: router-train promote --state ./var")
def promote(
    state: State = _STATE,
    force: Annotated[
        bool, typer.Option("--force", help="Promote even if the gate objected.")
    ] = False,
) -> None:
    """Make the challenger champion and export it to the service."""
    with _one_line_errors():
        _require_folder(state, "--state")
        registry = Registry(state)
        gate = registry.get("challenger").tags.get("gate", "passed")
        if gate != "passed" and not force:
            _report_gate((gate,))
            raise typer.Exit(1)
        _promote(registry, state)


@app.command(epilog="Example: router-train export --alias champion --dest ./var/artifact")
def export(
    state: State = _STATE,
    alias: Annotated[str, typer.Option(help="champion, challenger or previous.")] = "champion",
    dest: Annotated[
        Path | None, typer.Option(help="Folder; the one the service reads by default.")
    ] = None,
) -> None:
    """Write the artifact of an alias where the service looks for it."""
    with _one_line_errors():
        chosen = _alias(alias)
        _export(Registry(state), chosen, dest or state / "artifact")


@app.command(epilog="Example: router-train rollback --state ./var")
def rollback(state: State = _STATE) -> None:
    """Exchange champion and previous, and export."""
    with _one_line_errors():
        registry = Registry(state)
        version = registry.rollback()
        typer.echo(f"champion: version {version.number} (rolled back)")
        _export(registry, "champion", state / "artifact")


def _promote(registry: Registry, state: Path) -> None:
    version = registry.promote()
    typer.echo(f"champion: version {version.number}")
    _export(registry, "champion", state / "artifact")


def _export(registry: Registry, alias: Alias, dest: Path) -> None:
    from router_training.artifacts import check

    version = registry.export(alias, dest, check=check)
    typer.echo(f"exported: version {version.number} to {dest}")


def _report_gate(against: tuple[str, ...]) -> None:
    for reason in against:
        typer.echo(f"gate: {reason}", err=True)


def _alias(name: str) -> Alias:
    for alias in ALIASES:
        if name == alias:
            return alias
    raise typer.BadParameter(f"got {name!r}, expected one of {', '.join(ALIASES)}")


def _params(path: Path | None) -> TrainingParams:
    return TrainingParams() if path is None else load_params(path)


def _require_folder(path: Path, option: str) -> None:
    if not path.is_dir():
        raise typer.BadParameter(f"{option}: got {path}, expected an existing folder")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except ParamsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except RouterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        typer.echo(
            f"error: training is not installed ({error.name} is missing): run `make setup`, or "
            "pip install 'router-model[train]'",
            err=True,
        )
        raise typer.Exit(1) from error
