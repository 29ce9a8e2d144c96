"""How each tenant's P(adequate) departs from everybody's: log-odds added after calibration.

A tenant's level moves all of its models, its offset for a model that model alone. Both were
shrunk to zero when they were fitted, so a tenant with few outcomes is close to everybody's
prediction, and one that was never seen is exactly there.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.errors import ArtifactError
from router_model.heads import Floats, plain_name
from router_model.learned_file import read_learned

TENANTS: Final = "tenants.json"
# Nobody's log-odds are this far from everybody's; such a file was not written by training.
_LARGEST: Final = 20.0
_NOBODY: Final[Mapping[str, "TenantOffset"]] = MappingProxyType({})


class TenantOffset(Struct, frozen=True, kw_only=True):
    """One tenant: `level` of all models, `models` beside it, `n` outcomes behind them."""

    level: float
    models: Mapping[str, float]
    n: int = 0

    def shift(self, model: str) -> float:
        """Log-odds added for a model; the level alone where the tenant never used it.

        A name that is not known exactly is found without regard to case and "provider/".
        """
        own = self.models.get(model)
        if own is None:
            plain = plain_name(model)
            own = next((o for name, o in self.models.items() if plain_name(name) == plain), 0.0)
        return self.level + own


class TenantOffsets(Struct, frozen=True):
    """The offsets of every tenant that has some."""

    tenants: Mapping[str, TenantOffset] = _NOBODY

    def for_models(self, tenant: str, names: Sequence[str]) -> Floats | None:
        """Log-odds to add for these models, shape (n,); None for a tenant without offsets.

        >>> acme = TenantOffset(level=-0.5, models={"openai/gpt-x": 0.25})
        >>> offsets = TenantOffsets({"acme": acme})
        >>> offsets.for_models("acme", ["gpt-x", "other"])
        array([-0.25, -0.5 ])
        >>> offsets.for_models("new", ["gpt-x"]) is None
        True
        """
        found = self.tenants.get(tenant)
        return None if found is None else np.array([found.shift(name) for name in names], float)

    def for_contexts(
        self, tenants: Sequence[str] | NDArray[np.object_], names: Sequence[str]
    ) -> Floats:
        """Log-odds to add for contexts of these tenants, shape (n_contexts, n_models).

        >>> TenantOffsets().for_contexts(["acme"], ["gpt-x", "other"])
        array([[0., 0.]])
        """
        table: Floats = np.zeros((len(tenants), len(names)))
        whose = np.asarray(tenants, dtype=object)
        for tenant in set(whose.tolist()) & set(self.tenants):
            table[whose == tenant] = self.for_models(tenant, names)
        return table

    def check(self) -> None:
        """ArtifactError unless every offset is a finite number of a believable size."""
        for tenant, found in self.tenants.items():
            for shift in (found.level, *found.models.values()):
                if not (isfinite(shift) and abs(shift) <= _LARGEST):
                    raise ArtifactError(
                        f"tenant {tenant!r}: got an offset of {shift}, expected a number within "
                        f"+-{_LARGEST:g}"
                    )


def save_tenants(offsets: TenantOffsets, folder: Path) -> None:
    """Write the offsets into an existing folder; no file where nobody has any."""
    if offsets.tenants:
        encoded = msgspec.json.format(msgspec.json.encode(offsets), indent=1)
        (folder / TENANTS).write_bytes(encoded + b"\n")


def load_tenants(folder: Path) -> TenantOffsets:
    """The offsets of a verified folder, none where it has no such file; else ArtifactError."""
    return read_learned(folder / TENANTS, TenantOffsets) or TenantOffsets()
