"""`router-train evaluate`: the router beside every baseline, on outcomes or on its own log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct
from msgspec.structs import replace
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
from router_training.params import ParamsError, TrainingParams

if TYPE_CHECKING:
    from router_training.off_policy import OffPolicyOptions
    from router_training.target_policies import TargetPolicy


@app.command(
    epilog="Example: router-train evaluate --data DIR --out report.json --group-by metadata.repo; "
    "router-train evaluate --from-log --state ./var --policy policy.toml"
)
def evaluate(
    data: Annotated[
        Path | None, typer.Option(help="Folder with requests.parquet, outcomes.parquet.")
    ] = None,
    from_log: Annotated[
        bool, typer.Option("--from-log", help="Evaluate off-policy on the log in --state.")
    ] = False,
    state: State = DEFAULT_STATE,
    policy: Annotated[
        Path | None,
        typer.Option(help="With --from-log: .toml or .py policy; else the exported artifact's."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="With --from-log: this tenant's decisions only.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="With --from-log: made since this ISO date or time (UTC).")
    ] = None,
    within_support: Annotated[
        bool,
        typer.Option(
            "--within-support",
            help="With --from-log: follow the log where it gave the policy's choice no chance.",
        ),
    ] = False,
    failure_cost: Annotated[
        float | None,
        typer.Option(min=0, help="With --from-log: USD that an inadequate answer costs."),
    ] = None,
    router_cost: Annotated[
        float | None, typer.Option(min=0, help="With --from-log: USD that a decision costs.")
    ] = None,
    max_unsupported: Annotated[
        float,
        typer.Option(min=0, max=1, help="With --from-log: refuse above this unsupported share."),
    ] = 0.05,
    min_effective_sample_size: Annotated[
        float, typer.Option(min=1, help="With --from-log: refuse below this.")
    ] = 50.0,
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
    """Compare the router with every baseline: on a folder of outcomes, or on what was logged."""
    _require_one_source(data, from_log=from_log)
    with one_line_errors():
        params = _params(params_file, folds)
        if data is not None:
            _refuse("--data", policy=policy, tenant=tenant, since=since)
            _from_data(data, params, artifact, group_by, max_contexts, out=out, plots=plots)
            return
        _refuse("--from-log", group_by=group_by, max_contexts=max_contexts)
        if artifact is not None and policy is not None:
            raise typer.BadParameter("--policy and --artifact: got both, expected one of them")
        _from_log(
            _Asked(
                state=state,
                policy=policy,
                artifact=artifact,
                tenant=tenant,
                since_ms=None if since is None else milliseconds(since),
                is_within_support=within_support,
                failure_cost_usd=failure_cost,
                router_cost_usd=router_cost,
                max_unsupported=max_unsupported,
                min_effective_sample_size=min_effective_sample_size,
            ),
            params,
            out=out,
            plots=plots,
        )


class _Asked(Struct, frozen=True, kw_only=True):
    """What off-policy evaluation was asked for on the command line."""

    state: Path
    policy: Path | None
    artifact: Path | None
    tenant: str | None
    since_ms: int | None
    is_within_support: bool
    failure_cost_usd: float | None
    router_cost_usd: float | None
    max_unsupported: float
    min_effective_sample_size: float


def _from_data(
    data: Path,
    params: TrainingParams,
    artifact: Path | None,
    group_by: str | None,
    max_contexts: int | None,
    *,
    out: Path,
    plots: Path | None,
) -> None:
    from router_training import plots as pictures
    from router_training.evaluate import Options, evaluate_folder
    from router_training.render import render
    from router_training.report import write_json

    require_folder(data, "--data")
    if artifact is not None:
        require_folder(artifact, "--artifact")
    with tqdm(unit="fit", delay=1, disable=None) as bar:

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


def _from_log(asked: _Asked, params: TrainingParams, *, out: Path, plots: Path | None) -> None:
    from router_data.logged import load_logged
    from router_training import off_policy_plots as pictures
    from router_training.catalog_in_use import current_catalog
    from router_training.off_policy import evaluate_policy
    from router_training.off_policy_render import render, render_skipped
    from router_training.off_policy_report import write_json
    from router_training.target_policies import RestrictedPolicy

    require_folder(asked.state, "--state")
    policy = _policy(asked)
    require_log(asked.state)
    logged = load_logged(
        asked.state,
        rule=params.adequacy,
        tenant=asked.tenant,
        since_ms=asked.since_ms,
        catalog=current_catalog(asked.state),
    )
    typer.echo(render_skipped(logged.skipped) + "\n")
    options = _options(asked, policy, params)
    chosen = RestrictedPolicy(policy) if asked.is_within_support else policy
    report = evaluate_policy(logged, chosen, options=options)
    write_json(report, out)
    typer.echo(render(report))
    typer.echo(f"\nreport: {out}")
    if plots is not None:
        for path in pictures.write_plots(report, plots):
            typer.echo(f"plot: {path}")


def _policy(asked: _Asked) -> "TargetPolicy":
    """The policy of --policy, of --artifact, or of the exported artifact."""
    from router_training.policy_files import load_policy
    from router_training.target_policies import ArtifactPolicy

    if asked.policy is not None:
        return load_policy(asked.policy)
    folder = asked.artifact or asked.state / "artifact"
    if not folder.is_dir():
        raise typer.BadParameter(f"--policy: not given, and there is no artifact at {folder}")
    return ArtifactPolicy(folder)


def _options(asked: _Asked, policy: "TargetPolicy", params: TrainingParams) -> "OffPolicyOptions":
    """The options, a failure's cost being the policy's own where it is not given."""
    from router_training.off_policy import ROUTER_COST_USD, OffPolicyOptions
    from router_training.overlap import OverlapLimits
    from router_training.target_policies import settings_of

    settings = settings_of(policy)
    given, router_cost = asked.failure_cost_usd, asked.router_cost_usd
    return OffPolicyOptions(
        failure_cost_usd=settings.failure_cost_usd if given is None else given,
        side_call_failure_cost_usd=settings.side_call_failure_cost_usd,
        router_cost_usd=ROUTER_COST_USD if router_cost is None else router_cost,
        limits=OverlapLimits(
            max_unsupported=asked.max_unsupported,
            min_effective_sample_size=asked.min_effective_sample_size,
        ),
        n_resamples=params.n_resamples,
        n_folds=params.n_folds or 5,  # a fit for every session would take too long
        seed=params.seed,
    )


def _require_one_source(data: Path | None, *, from_log: bool) -> None:
    if (data is not None) == from_log:
        raise typer.BadParameter(
            f"--data, --from-log: got {'both' if from_log else 'neither'}, expected one of them"
        )


def _refuse(source: str, **options: object) -> None:
    """A usage error for options that mean nothing with this source."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"--{name.replace('_', '-')}: has no meaning with {source}")


def _params(path: Path | None, folds: int | None) -> TrainingParams:
    params = params_of(path)
    if folds == 1:
        raise ParamsError("--folds: got 1, expected 0 (one per group) or at least 2")
    return params if folds is None else replace(params, n_folds=folds)
