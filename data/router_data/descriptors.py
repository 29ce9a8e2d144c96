"""From a model's name in a log to its descriptors."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from router_data.model_facts import facts_for
from router_data.model_names import date_in, plain_name
from router_data.prices import shipped_catalog
from router_model.catalog import Catalog
from router_model.descriptors import DESCRIPTOR_NAMES, UNKNOWN_PROVIDER, describe
from router_model.types import Capabilities, ModelCard, PriceCard

__all__ = ["DESCRIPTOR_NAMES", "card_for", "descriptors"]


def descriptors(name: str, card: ModelCard | None = None) -> NDArray[np.float32]:
    """The descriptors of a model by any name a log may have; float32, NaN where unknown.

    For a model of the catalog they are bit for bit those of its card, which serving uses.
    """
    return describe(card if card is not None else card_for(name), name=name)


@cache
def card_for(name: str) -> ModelCard:
    """A card for any model name: the catalog's own, else one made of the facts file.

    A card made of facts has an empty snapshot, 0 for an unknown limit and, where nothing at all
    is known, the provider "unknown". It serves `describe`; it can't be routed to.
    """
    plain = plain_name(name)
    for written in (
        name,
        plain,
        plain.replace(" ", "-"),
        plain.replace(" ", "-").replace(".", "-"),
    ):
        if found := _catalog().resolve(written):
            return found
    return _card_of_facts(name, plain)


def _card_of_facts(name: str, plain: str) -> ModelCard:
    facts = facts_for(name)
    if facts is None:
        return ModelCard(
            id=plain,
            provider=UNKNOWN_PROVIDER,
            snapshot="",
            family="",
            context_window=0,
            max_output_tokens=0,
            released=date_in(name),
        )
    price = None
    if facts.input is not None and facts.output is not None:
        price = PriceCard(input=facts.input, output=facts.output, cache_read=facts.cache_read)
    return ModelCard(
        id=plain,
        provider="history" if facts.tools is not None else UNKNOWN_PROVIDER,
        snapshot="",
        family="",
        context_window=facts.context or 0,
        max_output_tokens=facts.max_output or 0,
        capabilities=Capabilities(tools=bool(facts.tools), thinking=bool(facts.thinking)),
        price=price,
        released=date_in(name) or facts.released,
        open_weights=bool(facts.open_weights),
    )


@cache
def _catalog() -> Catalog:
    return shipped_catalog()
