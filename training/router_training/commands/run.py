"""`router-train run` and `encoder`: what makes a challenger."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from router_training.commands.shared import (
    DEFAULT_STATE,
    ParamsFile,
    SignKey,
    State,
    app,
    one_line_errors,
    params_of,
    promote_challenger,
    require_folder,
)
from router_training.registry import Registry

if TYPE_CHECKING:
    from router_training.pipeline import RunResult


@app.command(epilog="Example: router-train run --state ./var --params training/params.toml")
def run(
    state: State = DEFAULT_STATE,
    params_file: ParamsFile = None,
    note: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Markdown for the model card.")
    ] = None,
    promote_now: Annotated[
        bool, typer.Option("--promote", help="Promote and export when the gate has no objection.")
    ] = False,
    sign_key: SignKey = None,
) -> None:
    """Train on the log, evaluate on its latest part, register a challenger."""
    with one_line_errors():
        from router_training import pipeline
        from router_training.artifacts import tools

        params = params_of(params_file)
        require_folder(state, "--state")
        registry = Registry(state)
        with (
            tempfile.TemporaryDirectory() as work,
            tqdm(total=len(pipeline.STEPS), unit="step", disable=None) as bar,
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
        _tell(result)
        if promote_now and result.gate.reasons:
            raise typer.Exit(1)
        if promote_now:
            promote_challenger(registry, state, sign_key=sign_key)


def _tell(result: "RunResult") -> None:
    """Print reports, calibration, what was left out and why, and what the gate found."""
    from router_training import render
    from router_training.gate import render_gate

    for report in result.reports.values():
        typer.echo(render.render(report) + "\n")
    if not result.reports:
        typer.echo(
            "no request was answered by two models: live decisions are compared off-policy, by "
            "the gate below and by `router-train evaluate --from-log`"
        )
    for name in ("expected_calibration_loss", "brier_loss", "auc_score"):
        if name in result.metrics:
            typer.echo(f"{name}: {result.metrics[name]:.4f}")
    typer.echo(
        f"challenger: version {result.version.number}, trained on {result.n_train}, "
        f"calibrated on {result.n_calibrate}, tested on {result.n_test} requests, "
        f"{result.n_observed} of them with an outcome"
    )
    for reason, n in sorted(result.skipped.items()):
        typer.echo(f"left out: {reason}: {n}")
    typer.echo(render_gate(result.gate), err=bool(result.gate.reasons))


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
    with one_line_errors():
        from router_model.encoder import StaticEncoder

        encoder = StaticEncoder.from_sentence_transformer(name, dimension=dimension)
        out.mkdir(parents=True, exist_ok=True)
        encoder.save(out)
        rows, kept = encoder.table.shape
        typer.echo(f"{out}: {rows} tokens, {kept} dimensions, encoder {encoder.hash}")
