"""The command `router-data import`: one way in for tables and for logs of other tools."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, cast, get_args

import typer

from router_data.cli_options import DEFAULT_STATE, Encoder, State, chosen_encoder, made, reported
from router_data.dataset import IMPORT_TENANT
from router_data.gateway_import import NoUsableLineError, import_gateway_log, log_of
from router_data.gateway_log import Reader
from router_data.gateway_rows import DEFAULT_TENANT
from router_data.importer import import_tables
from router_data.imports.langfuse import read_langfuse, read_scores
from router_data.imports.learned_lines import learned_lines
from router_data.imports.litellm import read_litellm
from router_data.imports.otel import read_otel
from router_data.imports.score_file import read_score_file
from router_data.imports.scores import ScoreRule, Scores
from router_data.imports.told import bad_score_lines, told_lines
from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.prices import shipped_catalog
from router_model.catalog import unknown_models

Format = Literal["tables", "jsonl", "litellm", "otel", "langfuse"]

Source = Annotated[
    Path, typer.Argument(exists=True, help="Folder with the two tables, or a file with a log.")
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="What it holds; default tables for a folder, else jsonl."),
]
Tenant = Annotated[
    str | None, typer.Option(help="Tenant of rows that name none; default import or default.")
]
Progress = Annotated[bool, typer.Option("--progress/--no-progress", help="Show progress bars.")]
_TABLES, _LOGS, _SCORES = "Tables", "Logs", "Scores (langfuse, otel)"
Policy = Annotated[
    str | None,
    typer.Option(
        help="full (default), uniform, epsilon-greedy or biased: whose outcomes to log.",
        rich_help_panel=_TABLES,
    ),
]
Epsilon = Annotated[
    float, typer.Option(help="Exploration of a simulated policy.", rich_help_panel=_TABLES)
]
Seed = Annotated[
    int, typer.Option(help="Seed of a simulated policy's draws.", rich_help_panel=_TABLES)
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="Column or metadata.KEY whose equal values stay together.", rich_help_panel=_TABLES
    ),
]
TenantField = Annotated[
    str | None,
    typer.Option(
        help="Where a row names its tenant: team_id, metadata.org, service.name, ...",
        rich_help_panel=_LOGS,
    ),
]
Overlays = Annotated[
    list[Path] | None,
    typer.Option(
        "--catalog",
        exists=True,
        dir_okay=False,
        help="A TOML file with models or prices of your own; repeatable.",
        rich_help_panel=_LOGS,
    ),
]
Compared = Annotated[
    list[str] | None,
    typer.Option(
        "--compare", help="Price this model beside those seen; repeatable.", rich_help_panel=_LOGS
    ),
]
Text = Annotated[
    bool,
    typer.Option("--text", help="Log the bounded text of requests too.", rich_help_panel=_LOGS),
]
ScoreFile = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        exists=True,
        dir_okay=False,
        help="Scores of langfuse, where they are in a file of their own.",
        rich_help_panel=_SCORES,
    ),
]
ScoreNames = Annotated[
    list[str] | None,
    typer.Option("--score", help="A score that judges calls; repeatable.", rich_help_panel=_SCORES),
]
Threshold = Annotated[
    float | None,
    typer.Option("--score-threshold", help="Least number that passes.", rich_help_panel=_SCORES),
]
Passing = Annotated[
    list[str] | None,
    typer.Option("--score-pass", help="A category that passes.", rich_help_panel=_SCORES),
]


class _Judging(NamedTuple):
    """What the options say of scores."""

    file: Path | None
    names: list[str] | None
    threshold: float | None
    passing: list[str] | None

    def rule(self) -> ScoreRule | None:
        """The rule; None where no score is named."""
        if not self.names:
            if self.threshold is not None or self.passing:
                raise typer.BadParameter("--score-threshold, --score-pass: need --score NAME")
            return None
        return ScoreRule(
            names=frozenset(self.names),
            threshold=self.threshold,
            passing=frozenset(self.passing or ()),
        )


def import_command(
    path: Source,
    format_: FormatOption = None,
    state: State = DEFAULT_STATE,
    tenant: Tenant = None,
    encoder: Encoder = None,
    progress: Progress = True,
    policy: Policy = None,
    epsilon: Epsilon = 0.1,
    seed: Seed = 0,
    group_by: GroupBy = None,
    tenant_field: TenantField = None,
    overlays: Overlays = None,
    compared: Compared = None,
    text: Text = False,
    scores: ScoreFile = None,
    score: ScoreNames = None,
    score_threshold: Threshold = None,
    score_pass: Passing = None,
) -> None:
    """Turn outcome tables, or the log of a gateway or a tracing tool, into log rows.

    Importing again adds nothing, nor do the calls that two exports share. Whatever can't be used
    is counted and named; bad rows of a log are kept in quarantine. A log's import ends with what
    was learned from it: spend, side calls, sessions, caches, and what can be said of savings.
    Prompts are not stored unless --text is given, and keys only as hashes.

    jsonl: one object a line with ts, model, request (the client's body), response, usage,
    cost_usd, ... litellm: SpendLogs (JSON, CSV, Parquet) or standard logging payloads.
    otel: GenAI spans, OTLP/JSON or one a line. langfuse: observations and scores.
    Any of them may be gzipped, and a JSON array instead of lines.

    Example: router-data import ./bfcl --state ./var --policy epsilon-greedy --seed 1

    Example: router-data import --format litellm spend.jsonl.gz --tenant-field team_id

    Example: router-data import --format langfuse obs.jsonl --scores scores.jsonl --score quality
    """
    kind = _kind(path, format_)
    judging = _Judging(scores, score, score_threshold, score_pass)
    only_logs = (tenant_field, overlays, compared, text or None, *judging)
    _check_options(kind, only_tables=(policy, group_by), only_logs=only_logs)
    if kind == "tables":
        label = cast(PolicyName, policy or "full")
        with reported():
            chosen = LoggingPolicy(label, epsilon=epsilon, seed=seed)
            _tables(path, state, chosen, group_by, tenant, encoder, progress=progress)
        return
    with reported(), _asking_for_the_format(kind):
        catalog = shipped_catalog(*(overlays or ()))
        if unknown := unknown_models(catalog, compared):
            raise typer.BadParameter(f"--compare: {unknown[0]!r} is not in the catalog")
        found = Scores(judging.rule())
        report = import_gateway_log(
            path,
            made(state),
            encoder=chosen_encoder(encoder, state),
            reader=_reader(kind, path, state, tenant_field, judging, found, progress=progress),
            catalog=catalog,
            tenant=tenant or DEFAULT_TENANT,
            with_text=text,
            progress=progress,
        )
    unit = "calls" if kind == "otel" else "lines"
    typer.echo("\n".join(told_lines(report, found, unit=unit)))
    if report.quarantine is not None:
        typer.echo(f"unusable lines are kept in {report.quarantine}", err=True)
    typer.echo("\n".join(learned_lines(report.learned, state=str(state), compared=compared or [])))


@contextmanager
def _asking_for_the_format(kind: Format) -> Iterator[None]:
    """Ask for the format where nothing of a file could be used."""
    try:
        yield
    except NoUsableLineError as error:
        known = ", ".join(name for name in get_args(Format) if name != "tables")
        hint = f"is --format right? The file was read as {kind}; a file may be {known}"
        typer.echo(f"error: {error}\n{hint}", err=True)
        raise typer.Exit(1) from error


def _kind(path: Path, named: Format | None) -> Format:
    kind: Format = named or ("tables" if path.is_dir() else "jsonl")
    if path.is_dir() != (kind == "tables"):
        expected = "a folder" if kind == "tables" else "a file"
        raise typer.BadParameter(f"{path}: --format {kind} expects {expected}")
    return kind


def _check_options(
    kind: Format, *, only_tables: tuple[object, ...], only_logs: tuple[object, ...]
) -> None:
    """Refuse options that would do nothing."""
    if kind == "tables" and any(value is not None for value in only_logs):
        raise typer.BadParameter("options of logs and scores have no meaning for tables")
    if kind != "tables" and any(value is not None for value in only_tables):
        raise typer.BadParameter("--policy and --group-by have a meaning for tables only")
    *_, file, names, threshold, passing = only_logs
    has_scores = any(value is not None for value in (file, names, threshold, passing))
    if file is not None and kind == "otel":
        raise typer.BadParameter("--scores: the spans of otel hold their scores themselves")
    if has_scores and kind not in ("langfuse", "otel"):
        raise typer.BadParameter(f"--format {kind} has no scores")


def _tables(
    folder: Path,
    state: Path,
    policy: LoggingPolicy,
    group_by: str | None,
    tenant: str | None,
    encoder: Path | None,
    *,
    progress: bool,
) -> None:
    report = import_tables(
        folder,
        made(state),
        encoder=chosen_encoder(encoder, state),
        policy=policy,
        group_by=group_by,
        tenant=tenant or IMPORT_TENANT,
        progress=progress,
    )
    typer.echo(
        f"{report.n_requests} requests: {report.n_decisions} decisions and {report.n_outcomes} "
        f"outcomes logged, {report.n_known} decisions were there already"
    )
    for reason, n in sorted(report.problems.items()):
        typer.echo(f"  {n} x {reason}")


def _reader(
    kind: Format,
    path: Path,
    state: Path,
    tenant_field: str | None,
    judging: _Judging,
    scores: Scores,
    *,
    progress: bool,
) -> Reader | None:
    """What reads the format; the scores are read first, from their own file or from this one."""
    if kind == "litellm":
        return partial(read_litellm, tenant_field=tenant_field)
    if kind == "otel":
        return partial(read_otel, tenant_field=tenant_field, rule=judging.rule())
    if kind == "langfuse":
        for _ in read_scores(path, scores, progress=progress):
            pass  # what is no score is read again as a call
        if judging.file is not None:
            log = log_of(made(state))
            bad = read_score_file(judging.file, scores, log=log, progress=progress)
            for line in bad_score_lines(judging.file, bad):
                typer.echo(line, err=True)
        return partial(read_langfuse, scores=scores, tenant_field=tenant_field)
    if tenant_field is not None:
        raise typer.BadParameter("--tenant-field: lines of jsonl name their tenant in `tenant`")
    return None
