"""`router-data probe`: measure what an endpoint does, within a budget."""

import asyncio
import math
import os
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from ulid import ULID

from router_data.prices import shipped_catalog
from router_data.probe.budget import Budget
from router_data.probe.client import Endpoint
from router_data.probe.dialects import Dialect
from router_data.probe.findings import Plan
from router_data.probe.overlay import base_of, widened, write_overlay
from router_data.probe.report import report_document, summary_line, write_report
from router_data.probe.runner import CHECKS, Run
from router_data.probe.session import ProbeSession
from router_model.catalog import Catalog
from router_model.errors import LogError, RouterError
from router_model.extras import missing_packages
from router_model.types import ModelCard, PriceCard

_NEEDED: Final = ("httpx", "jsonschema", "tomlkit")
_DIALECTS: Final = ("openai", "anthropic")
# Of a declared window: tokens are estimated, and vocabularies differ.
_ROOM: Final = 0.8
OVERLAY_FILE: Final = "overlay.toml"

BaseUrl = Annotated[
    str, typer.Option("--base-url", help="Of the API: https://host/v1; calls go below it.")
]
Name = Annotated[str, typer.Option("--model", help="Name to send; also looked up in the catalog.")]
Format = Annotated[str, typer.Option("--format", help="openai (chat completions) or anthropic.")]
KeyVariable = Annotated[
    str | None, typer.Option(help="Environment variable that holds the key; default none.")
]
MaxUsd = Annotated[float, typer.Option(min=0.0, help="Dollars that are never exceeded.")]
Price = Annotated[float | None, typer.Option(min=0.0, help="Dollars per million tokens.")]
Only = Annotated[
    list[str] | None, typer.Option(help=f"Run this check; repeatable: {', '.join(CHECKS)}.")
]
Out = Annotated[Path, typer.Option(help="Folder of the report and of the overlay.")]
OverlayFile = Annotated[
    Path | None, typer.Option(help=f"Overlay to merge facts into; default OUT/{OVERLAY_FILE}.")
]
State = Annotated[
    Path,
    typer.Option("--state", envvar="ROUTER_STATE_DIR", help="State whose log gets the calls."),
]
Sessions = Annotated[int, typer.Option(min=1, help="Parallel sessions of the load.")]
ContextTokens = Annotated[int, typer.Option(min=1000, help="Longest prompt to try.")]
Window = Annotated[int | None, typer.Option(min=1, help="Declared window; default the catalog's.")]
MaxOutput = Annotated[int, typer.Option(min=16, help="Limit on the output of each call.")]
Slowdown = Annotated[float, typer.Option(min=1.0, help="How much slower a call may be under load.")]
UsageUrl = Annotated[
    str | None, typer.Option(help="Where the endpoint says what was spent so far.")
]
UsageField = Annotated[str, typer.Option(help="Path of that number in its answer: data.usage.")]
UsageDelay = Annotated[
    float, typer.Option(min=0.0, help="Seconds until a call shows in that number.")
]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds that a call may take.")]
Seed = Annotated[int, typer.Option(help="Seed of the tasks.")]
Repeats = Annotated[int, typer.Option(min=1, help="How often each long prompt is varied.")]
Provider = Annotated[str | None, typer.Option(help="Provider of a model no catalog knows.")]
Progress = Annotated[bool, typer.Option("--progress/--no-progress", help="Show a progress bar.")]


def probe_command(
    base_url: BaseUrl,
    model: Name,
    dialect: Format = "openai",
    api_key_env: KeyVariable = None,
    max_usd: MaxUsd = 1.0,
    price_input: Price = None,
    price_output: Price = None,
    price_cache_read: Price = None,
    price_cache_write: Price = None,
    only: Only = None,
    out: Out = Path("probe"),
    overlay: OverlayFile = None,
    state: State = Path("var"),
    sessions: Sessions = 10,
    context_tokens: ContextTokens = 32_000,
    repeats: Repeats = 1,
    context_window: Window = None,
    max_output_tokens: MaxOutput = 1024,
    max_slowdown: Slowdown = 3.0,
    usage_url: UsageUrl = None,
    usage_field: UsageField = "usage",
    usage_delay_s: UsageDelay = 5.0,
    timeout_s: Timeout = 120.0,
    seed: Seed = 0,
    provider: Provider = None,
    progress: Progress = True,
) -> None:
    """Measure what an endpoint really does, by calling it; every call costs what it costs.

    Writes a report (JSON, Markdown), a catalog overlay with the facts that were observed, and the
    calls to the log (tenant "probe"). Each call's worst case is reserved before it is made, so
    --max-usd holds. Exit code 1 where a check failed or was not run.

    Example: router-data probe --base-url https://api.example.com/v1 --model my-model
    --api-key-env EXAMPLE_KEY --max-usd 0.50
    """
    _check_installed()
    names = _names(only)
    _check_amounts(max_usd, price_input, price_output, price_cache_read, price_cache_write)
    _check_writable(out)
    overlay = overlay or out / OVERLAY_FILE
    try:
        catalog = shipped_catalog(*([overlay] if overlay.exists() else []))
        card = catalog.resolve(model)
        declared = (card.max_input_tokens or card.context_window) if card else None
        window = context_window or declared
        endpoint = Endpoint(
            base_url=base_url,
            model=model,
            dialect=_dialect(dialect),
            price=_price(card, (price_input, price_output, price_cache_read, price_cache_write)),
            key=_key(api_key_env),
            timeout_s=timeout_s,
            max_tokens=max_output_tokens,
            usage_url=usage_url,
            usage_field=usage_field,
        )
        plan = Plan(
            nonce=str(ULID()).lower(),
            context_tokens=_fitting(context_tokens, window, model, max_output_tokens),
            sessions=sessions,
            seed=seed,
            repeats=repeats,
            max_slowdown=max_slowdown,
            context_window=window,
            min_cache_tokens=card.min_cache_tokens if card else None,
            usage_delay_s=usage_delay_s,
        )
        model_id = card.id if card else model
        session = ProbeSession(endpoint, plan, Budget(max_usd), state, model_id=model_id)
        run = _run(session, names, progress=progress)
        _write(session, run, catalog, out=out, overlay=overlay, provider=provider)
    except RouterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    if not run.is_good:
        raise typer.Exit(1)


def _run(session: ProbeSession, names: tuple[str, ...], *, progress: bool) -> Run:
    """What was found until the end, or until the first Ctrl-C."""
    run = Run(names)
    try:
        asyncio.run(session.run(run, progress=progress))
    except KeyboardInterrupt:
        run.complete("interrupted: stopped by Ctrl-C")
    except LogError as error:
        # What was paid for is reported all the same.
        run.complete(f"log: {error}")
        run.stopped = f"log: {error}"
    finally:
        session.close()
    return run


def _write(
    session: ProbeSession,
    run: Run,
    catalog: Catalog,
    *,
    out: Path,
    overlay: Path,
    provider: str | None,
) -> None:
    """The overlay, the report, and in the terminal what matters of both."""
    now = datetime.now(tz=UTC)
    facts: dict[str, Any] = dict(run.facts())
    card = shipped_catalog().get(session.model_id)
    base: dict[str, Any] = {}
    if card is None:
        base = base_of(session.endpoint, largest=session.largest_input, provider=provider)
        facts |= widened(catalog.get(session.model_id), largest=session.largest_input)
    document = report_document(run, about=session.about(now.isoformat(timespec="seconds")))
    paths = write_report(out, document)
    if facts:
        write_overlay(
            overlay, model=session.model_id, facts=facts, base=base, on=now.date().isoformat()
        )
    for item in run.checked:
        typer.echo(summary_line(item))
    budget = session.budget
    typer.echo(f"spent ${budget.spent_usd:.4f} of ${budget.max_usd:.2f}; {session.n_rows} log rows")
    typer.echo(f"report: {paths[1]}" + (f", facts: {overlay}" if facts else ", no facts"))
    if run.stopped:
        typer.echo(f"stopped early: {run.stopped}", err=True)


def _check_installed() -> None:
    """All that a probe imports on its way has to be there before the first call is paid for."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        said = missing_packages("a probe", extra="probe", names=missing)
        typer.echo(f"error: {said}", err=True)
        raise typer.Exit(1)


def _names(only: list[str] | None) -> tuple[str, ...]:
    for name in only or ():
        if name not in CHECKS:
            raise typer.BadParameter(f"--only: got {name!r}, expected {', '.join(CHECKS)}")
    return tuple(name for name in CHECKS if not only or name in only)


def _check_amounts(*amounts: float | None) -> None:
    """Neither of these could hold a budget, and the minimum of an option lets them through."""
    for amount in amounts:
        if amount is not None and not math.isfinite(amount):
            raise typer.BadParameter(f"got {amount}, expected a number of dollars")


def _check_writable(out: Path) -> None:
    """A run that is paid for must not end without its report."""
    place = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise typer.BadParameter(f"--out: {place} is no folder that can be written to")


def _fitting(context_tokens: int, window: int | None, model: str, n_output: int) -> int:
    """As many tokens as asked for, if the window has room for them.

    What an overlay says of a model of its own may be no more than what a probe saw of it.
    """
    if window is None or shipped_catalog().resolve(model) is None:
        return context_tokens
    return min(context_tokens, max(1_000, int(_ROOM * window) - n_output))


def _dialect(name: str) -> Dialect:
    if name not in _DIALECTS:
        raise typer.BadParameter(f"--format: got {name!r}, expected {' or '.join(_DIALECTS)}")
    return cast(Dialect, name)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise typer.BadParameter(f"--api-key-env: the variable {variable} is not set")
    return key


def _price(card: ModelCard | None, given: tuple[float | None, ...]) -> PriceCard:
    """The price as given, else the catalog's: without one the budget could not be held."""
    price_input, price_output, cache_read, cache_write = given
    if price_input is not None and price_output is not None:
        return PriceCard(
            input=price_input, output=price_output, cache_read=cache_read, cache_write=cache_write
        )
    if any(value is not None for value in given):
        raise typer.BadParameter("--price-input and --price-output: expected both or none")
    if card is None or card.price is None:
        raise typer.BadParameter(
            "the model's price is not in the catalog, so --max-usd can't be held: give "
            "--price-input and --price-output (0 where it is free)"
        )
    return card.price
