"""Finds the catalog's model behind the names that logs write."""

from collections import Counter

import msgspec

from router_data.gateway_log import GatewayCall
from router_data.model_names import keys
from router_model.catalog import Catalog

_MANY = 1_000
OTHERS = "(others)"


def count_in(counter: Counter[str], name: str) -> None:
    """Count a name; beyond a thousand different ones all new ones as "(others)"."""
    counter[name if name in counter or len(counter) < _MANY else OTHERS] += 1


class ModelNames:
    """Resolves names: exactly, then by their words, then without a date.

    A name that several models could have, or none, stays as it is and is counted in `unknown`.
    Resemblance is not enough: a wrong model would be taught what another one did.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.unknown: Counter[str] = Counter()
        self._catalog = catalog
        self._by_words: dict[str, set[str]] = {}
        for card in catalog.models.values():
            for name in (card.id, card.snapshot, *card.aliases):
                for key in keys(name)[:2]:
                    self._by_words.setdefault(key, set()).add(card.id)
        self._found: dict[str, str | None] = {}

    def named(self, call: GatewayCall) -> GatewayCall:
        """The call with the catalog's names."""
        found = (self._resolved(name) for name in (call.model, *call.also_named))
        model = next((name for name in found if name is not None), None)
        if model is None:
            count_in(self.unknown, call.model)
            model = call.model
        changes: dict[str, object] = {"model": model}
        if call.distribution is not None and call.is_drawn:
            shares: dict[str, float] = {}
            for name, p in call.distribution.items():
                known = model if name == call.model else self._resolved(name) or name
                shares[known] = shares.get(known, 0.0) + p
            changes |= {"distribution": shares, "propensity": shares[model]}
        return msgspec.structs.replace(call, **changes)

    def _resolved(self, name: str) -> str | None:
        if name not in self._found:
            if len(self._found) >= _MANY:
                self._found.clear()
            self._found[name] = self._looked_up(name)
        return self._found[name]

    def _looked_up(self, name: str) -> str | None:
        card = self._catalog.resolve(name) or self._catalog.resolve(name.rsplit("/", 1)[-1])
        if card is not None:
            return card.id
        for key in keys(name)[:2]:
            found = self._by_words.get(key, set()) if key else set()
            if len(found) == 1:
                return next(iter(found))
        return None
