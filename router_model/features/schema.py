"""Names, units and meanings of the features, and the hash that identifies them."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct


class Feature(NamedTuple):
    """One number about a request. Flags are 0 or 1; nothing is ever missing or infinite."""

    name: str
    unit: str
    meaning: str


class FeatureSchema(Struct, frozen=True, kw_only=True):
    """The features in the order of their values; two schemas agree when their hashes do."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    meanings: tuple[str, ...]
    version: int
    hash: str

    @property
    def n(self) -> int:
        """Number of features."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of a feature; a KeyError names what is not there."""
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(f"no feature is called {name!r}") from None


def build_schema(features: Iterable[Feature], *, version: int) -> FeatureSchema:
    """The schema of these features; its hash covers names, units, order and version.

    The version is raised when a feature keeps its name but is computed differently.

    >>> schema = build_schema([Feature("n_tools", "count", "tools offered")], version=1)
    >>> schema.n, schema.index("n_tools"), len(schema.hash)
    (1, 0, 64)
    """
    table = tuple(features)
    names = tuple(feature.name for feature in table)
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"feature names have to be unique, these are not: {', '.join(twice)}")
    rows = [f"version\t{version}", *(f"{f.name}\t{f.unit}" for f in table)]
    return FeatureSchema(
        names=names,
        units=tuple(feature.unit for feature in table),
        meanings=tuple(feature.meaning for feature in table),
        version=version,
        hash=hashlib.sha256("\n".join(rows).encode()).hexdigest(),
    )
