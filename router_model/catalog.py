"""The catalog: which models can be chosen, read from TOML files.

    as_of = "2026-11-23"

    [models."my-model"]
    provider = "self"
    context_window = 32768
    max_output_tokens = 8192
    price = { input = 0.0, output = 0.0 }      # free has to be said; no price means unknown
    capabilities = { tools = true }

A later file (an overlay) may name a model of an earlier one and change single fields of it.
`capabilities` are merged key by key; `price` is replaced as a whole, so that no cache price or
long-context tier of the old price survives by accident.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from router_model.card_checks import check_card, check_unknown_keys, explain
from router_model.errors import CatalogError
from router_model.types import ModelCard

TOP_LEVEL_KEYS = ("as_of", "models")


@dataclass(frozen=True, slots=True)
class Catalog:
    """The models by id, in the order of their files.

    `version` is a short hash of the content (not of comments or layout), `as_of` the ISO date of
    its facts. Build one with `catalog_of` or `load_catalog`.
    """

    models: Mapping[str, ModelCard]
    version: str
    as_of: str
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    def get(self, model_id: str) -> ModelCard | None:
        """The card with exactly this id, or None."""
        return self.models.get(model_id)

    def resolve(self, name: str) -> ModelCard | None:
        """The card with this id, alias or snapshot, or None.

        Upper and lower case are the same, and a leading "provider/" is ignored.
        """
        if name in self.models:
            return self.models[name]
        plain = name.strip().lower()
        model_id = self.names.get(plain)
        if model_id is None and "/" in plain:
            model_id = self.names.get(plain.split("/", 1)[1])
        return None if model_id is None else self.models[model_id]

    @property
    def enabled(self) -> tuple[ModelCard, ...]:
        """The cards that may be chosen at all, in order."""
        return tuple(card for card in self.models.values() if card.enabled)

    def to_json(self) -> bytes:
        """The whole catalog as JSON, models in order."""
        return msgspec.json.encode(
            {"as_of": self.as_of, "version": self.version, "models": list(self.models.values())}
        )


def catalog_of(cards: Iterable[ModelCard], *, as_of: str) -> Catalog:
    """A catalog of these cards; raises CatalogError where two share an id or an alias."""
    models: dict[str, ModelCard] = {}
    for card in cards:
        if card.id in models:
            raise CatalogError(f"catalog: model {card.id!r} occurs twice")
        models[card.id] = card
    content = msgspec.json.encode([as_of, list(models.values())])
    version = hashlib.sha256(content).hexdigest()[:12]
    return Catalog(models=models, version=version, as_of=as_of, names=_names(models))


def load_catalog(path: Path, *overlays: Path) -> Catalog:
    """The catalog in `path`, changed and extended by `overlays` in turn.

    Raises CatalogError naming file, model, field, value and what is allowed.
    """
    tables: dict[str, dict[str, Any]] = {}
    origin: dict[str, Path] = {}
    as_of = ""
    for file in (path, *overlays):
        document = _read(file)
        as_of = str(document.get("as_of", as_of))
        for model_id, table in document.get("models", {}).items():
            _check_table(table, file=file, model_id=model_id)
            tables[model_id] = _merged(tables.get(model_id, {}), table)
            origin[model_id] = file
    cards = [_card(model_id, tables[model_id], file=origin[model_id]) for model_id in tables]
    return catalog_of(cards, as_of=as_of)


def unknown_models(catalog: Catalog, names: Sequence[str] | None) -> tuple[str, ...]:
    """Those of `names` that the catalog does not know, in order; none for None."""
    return tuple(name for name in names or () if catalog.resolve(name) is None)


def model_ids(catalog: Catalog, names: Sequence[str]) -> tuple[str, ...]:
    """The ids that `names` mean, in order; names the catalog does not know are left out."""
    found = (catalog.resolve(name) for name in names)
    return tuple(card.id for card in found if card is not None)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{file}: can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{file}: not valid TOML: {error}") from error
    if unknown := sorted(set(document) - set(TOP_LEVEL_KEYS)):
        raise CatalogError(f"{file}: unknown key {unknown[0]!r}, allowed: as_of, models")
    if not isinstance(document.get("models", {}), dict):
        raise CatalogError(f'{file}: models: expected tables like [models."my-model"]')
    return document


def _check_table(table: object, *, file: Path, model_id: str) -> None:
    if not isinstance(table, dict):
        raise CatalogError(f"{file}: model {model_id!r}: got {table!r}, expected a table")
    if "id" in table:
        raise CatalogError(f"{file}: model {model_id!r}: id is the name of the table, remove it")
    if problem := check_unknown_keys(table):
        raise CatalogError(f"{file}: model {model_id!r}: {problem}")


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**old, **new}
    if isinstance(new.get("capabilities"), dict):
        merged["capabilities"] = {**old.get("capabilities", {}), **new["capabilities"]}
    return merged


def _card(model_id: str, table: Mapping[str, Any], *, file: Path) -> ModelCard:
    family = model_id.split("/")[-1].split("-")[0].rstrip("0123456789.")
    filled = {"id": model_id, "snapshot": model_id, "family": family or model_id, **table}
    try:
        card = msgspec.convert(filled, ModelCard)
    except msgspec.ValidationError as error:
        raise CatalogError(f"{file}: model {model_id!r}: {explain(error, filled)}") from error
    if problem := check_card(card):
        raise CatalogError(f"{file}: model {model_id!r}: {problem}")
    return card


def _names(models: Mapping[str, ModelCard]) -> dict[str, str]:
    """Lower-case id, aliases and snapshot to id; ids win over the names of others."""
    names = {model_id.lower(): model_id for model_id in models}
    for card in models.values():
        for name in (*card.aliases, card.snapshot):
            other = names.setdefault(name.lower(), card.id)
            if other != card.id and name in card.aliases:
                raise CatalogError(
                    f"catalog: model {card.id!r}: aliases: {name!r} is already a name of {other!r}"
                )
    return names
