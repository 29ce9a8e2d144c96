"""A catalog as TOML text that `load_catalog` reads back to the same cards."""

import json
from typing import Any, Final

from router_model.catalog import Catalog
from router_model.types import Capabilities, ModelCard, PriceCard, PriceTier, ServiceTier

_DEFAULTS: Final = {
    "price": None,
    "released": None,
    "open_weights": False,
    "aliases": (),
    "enabled": True,
    "is_snapshot_pinned": False,
    "max_input_tokens": None,
    "cache_block_tokens": 1,
    "long_cache_ttl_s": None,
}


def dumps(catalog: Catalog, *, header: str = "") -> str:
    """The catalog as TOML; `header` (comment lines) goes on top."""
    blocks = [f"{header}as_of = {json.dumps(catalog.as_of)}\n"]
    blocks += [_model(card) for card in catalog.models.values()]
    return "\n".join(blocks)


def _model(card: ModelCard) -> str:
    lines = [f"[models.{json.dumps(card.id)}]"]
    for name in card.__struct_fields__:
        value = getattr(card, name)
        if name == "id" or (name in _DEFAULTS and value == _DEFAULTS[name]):
            continue
        lines.append(f"{name} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, Capabilities | PriceCard | PriceTier | ServiceTier):
        return _inline(value)
    raise TypeError(f"no TOML for {value!r}")


def _inline(struct: Capabilities | PriceCard | PriceTier | ServiceTier) -> str:
    absent = (None, False, (), "none")
    pairs = [
        f"{name} = {_value(value)}"
        for name in struct.__struct_fields__
        if (value := getattr(struct, name)) not in absent or isinstance(value, float)
    ]
    return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
