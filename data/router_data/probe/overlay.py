"""Observed facts in a catalog overlay, beside what the file says of other models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from router_data.prices import shipped_catalog
from router_data.probe.client import Endpoint
from router_model.errors import CatalogError
from router_model.types import ModelCard


def write_overlay(
    path: Path,
    *,
    model: str,
    facts: Mapping[str, bool | int | str],
    base: Mapping[str, Any],
    on: str,
) -> None:
    """Write the facts of a model into the file, which `load_catalog` reads after its own.

    `facts` are by path ("capabilities.seed"). `base` are the fields that a model needs which no
    catalog knows; they are written where the file does not have them. Comments and other models
    of the file stay. The file is replaced only by one that can be loaded. Raises CatalogError.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        document = tomlkit.parse(old)
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise CatalogError(f"{path}: can't be read: {error}") from error
    document["as_of"] = on
    if "models" not in document:
        document["models"] = tomlkit.table(is_super_table=True)
    models = cast(dict[str, Any], document["models"])
    if not isinstance(models, Mapping) or not isinstance(models.get(model, {}), Mapping):
        raise CatalogError(f'{path}: models: expected tables like [models."{model}"]')
    if model not in models:
        models[model] = tomlkit.table()
    table = models[model]
    for name, value in base.items():
        if name not in table:
            table[name] = _inline(value) if isinstance(value, Mapping) else value
    for fact, value in facts.items():
        _put(table, fact.split("."), value)
    _replace(path, tomlkit.dumps(document))


def base_of(endpoint: Endpoint, *, largest: int, provider: str | None) -> dict[str, Any]:
    """What a model needs that no catalog knows: lower bounds that were seen, the price as given.

    `largest` is the most input tokens that were accepted.
    """
    price = endpoint.price
    rates = {
        name: getattr(price, name) for name in ("input", "output", "cache_read", "cache_write")
    }
    return {
        "provider": provider or urlsplit(endpoint.base_url).hostname or "self",
        "context_window": max(1, largest),
        "max_output_tokens": endpoint.max_tokens,
        "price": {name: rate for name, rate in rates.items() if rate is not None},
    }


def widened(card: ModelCard | None, *, largest: int) -> dict[str, int]:
    """A larger window than an earlier probe saw of the same model."""
    if card is None or largest <= card.context_window:
        return {}
    return {"context_window": largest}


def _put(table: Any, names: list[str], value: bool | int | str) -> None:
    import tomlkit

    if len(names) == 1:
        table[names[0]] = value
        return
    if names[0] not in table:
        table[names[0]] = tomlkit.inline_table()
    _put(table[names[0]], names[1:], value)


def _inline(values: Mapping[str, Any]) -> Any:
    """A table in one line: one of its own could swallow what follows it in the file."""
    import tomlkit

    table = tomlkit.inline_table()
    table.update(values)
    return table


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        shipped_catalog(temporary)
        temporary.replace(path)
    except OSError as error:
        raise CatalogError(f"{path}: can't be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
