"""`router-train partial`: what is lost when only the chosen model's outcome is seen."""

from pathlib import Path
from typing import Annotated, cast

import typer
from tqdm import tqdm

from router_data.logging_policy import PolicyName
from router_training.commands.shared import (
    ParamsFile,
    app,
    one_line_errors,
    params_of,
    require_folder,
)


@app.command(epilog="Example: router-train partial --data DIR --rounds 1,3,10 --out partial.json")
def partial(
    data: Annotated[Path, typer.Option(help="Folder with requests.parquet, outcomes.parquet.")],
    rounds: Annotated[
        str, typer.Option(help="Logged outcomes per request, several after commas.")
    ] = "1,3,10",
    policies: Annotated[
        str, typer.Option(help="Logging policies: uniform, epsilon-greedy, biased, after commas.")
    ] = "uniform,epsilon-greedy,biased",
    out: Annotated[Path | None, typer.Option(help="Where the JSON report goes.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Logs, and folds, that are drawn anew.")] = 3,
    max_models: Annotated[
        int | None, typer.Option(min=2, help="This many models, from the cheapest to the dearest.")
    ] = None,
    max_contexts: Annotated[
        int | None, typer.Option(min=2, help="A random part of this size.")
    ] = None,
    params_file: ParamsFile = None,
) -> None:
    """Train on simulated logs of one outcome a request, and compare with full feedback."""
    with one_line_errors():
        from router_data.dataset import rounds_from_tables
        from router_model.encoder import StaticEncoder
        from router_training.evaluate import sampled
        from router_training.fit import fit_predictor
        from router_training.partial import Study
        from router_training.partial_report import compare, render, some_models, write_report

        params = params_of(params_file)
        require_folder(data, "--data")
        study = Study(policies=policies_of(policies), rounds=rounds_of(rounds), n_seeds=seeds)
        encoder = StaticEncoder.from_sentence_transformer(
            params.encoder, dimension=params.embedding_dim
        )
        known = rounds_from_tables(data, encoder=encoder, rule=params.adequacy)
        known = sampled(some_models(known, max_models), max_contexts, seed=params.seed)
        with tqdm(total=study.n_steps, unit="router", disable=None) as bar:

            def on_step(step: str) -> None:
                bar.set_description(step)
                bar.update()

            report = compare(
                known,
                name=data.resolve().name,
                study=study,
                params=params,
                fit=fit_predictor,
                on_step=on_step,
            )
        typer.echo(render(report))
        if out is not None:
            write_report(report, out)
            typer.echo(f"\nreport: {out}")


def rounds_of(text: str) -> tuple[int, ...]:
    """Numbers of rounds after commas; a usage error for anything else.

    >>> rounds_of("1,10")
    (1, 10)
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"--rounds: got {text!r}, expected numbers from 1, as in 1,3,10")
    return numbers


def policies_of(text: str) -> tuple[PolicyName, ...]:
    """Names of logging policies after commas; a usage error for any other.

    >>> policies_of("biased,uniform")
    ('biased', 'uniform')
    """
    names = tuple(part.strip() for part in text.split(","))
    if unknown := set(names) - {"uniform", "epsilon-greedy", "biased"}:
        raise typer.BadParameter(
            f"--policies: got {sorted(unknown)}, expected uniform, epsilon-greedy or biased"
        )
    return cast(tuple[PolicyName, ...], names)
