"""The quality contract: which threshold on p is certified for which promise.

A request is *downgraded* when the policy takes, by price, a model other than the admissible one of
highest p. The promise of a contract (alpha, delta) is

    P(inadequate | downgraded) <= alpha, with confidence 1 - delta,

and a threshold on p that keeps it is found on held-out data when a router is trained. The file
`contracts.json` of an artifact lists what was found.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from router_model.errors import ArtifactError

CONTRACTS_FILE = "contracts.json"
ALL_TENANTS = "*"
ABSTAIN = 2.0
"""A threshold above every probability: no model reaches it, so the highest p is taken."""
ABSTAINS = "contract: abstains"
_SLACK = 1e-12


class Certified(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was certified for one tenant ("*" is all of them) and one (alpha, delta).

    `min_adequacy` is None when no threshold keeps the promise: abstain, always the highest p.
    `n` requests were looked at, `n_downgraded` of them are downgraded at the threshold, and
    `bound` is the upper confidence bound, at most alpha, of the share of those that are
    inadequate. Raises ArtifactError for values out of range.
    """

    tenant: str
    alpha: float
    delta: float
    min_adequacy: float | None
    n: int
    n_downgraded: int
    bound: float | None

    def __post_init__(self) -> None:
        for name in ("alpha", "delta"):
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise ArtifactError(f"{name}: got {value}, expected more than 0 and less than 1")
        for name in ("min_adequacy", "bound"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ArtifactError(f"{name}: got {value}, expected 0 to 1 or null")
        if not 0 <= self.n_downgraded <= self.n:
            raise ArtifactError(
                f"n_downgraded: got {self.n_downgraded}, expected 0 to n, which is {self.n}"
            )


class Threshold(Struct, frozen=True, kw_only=True):
    """The threshold in effect for a request; `source` is what the log says set it.

    When `is_abstaining`, `min_adequacy` is `ABSTAIN`, which no probability reaches.
    """

    min_adequacy: float
    is_abstaining: bool
    source: str


class Contracts(Struct, frozen=True):
    """The certified thresholds of an artifact, by tenant."""

    by_tenant: Mapping[str, tuple[Certified, ...]]

    @classmethod
    def of(cls, entries: Iterable[Certified]) -> "Contracts":
        """Contracts of a list; ArtifactError when one promise is listed twice."""
        by_tenant: dict[str, tuple[Certified, ...]] = {}
        for entry in entries:
            known = by_tenant.get(entry.tenant, ())
            if any((e.alpha, e.delta) == (entry.alpha, entry.delta) for e in known):
                raise ArtifactError(
                    f"tenant {entry.tenant!r}, alpha {entry.alpha}, delta {entry.delta}: "
                    "listed twice, expected each once"
                )
            by_tenant[entry.tenant] = (*known, entry)
        return cls(by_tenant)

    @classmethod
    def load(cls, folder: Path) -> "Contracts":
        """Contracts of an artifact folder, none when it has no such file; ArtifactError if bad."""
        path = folder / CONTRACTS_FILE
        try:
            return cls.of(msgspec.json.decode(path.read_bytes(), type=tuple[Certified, ...]))
        except FileNotFoundError:
            return cls({})
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: can't be read: {error}") from error
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error

    def certified_for(self, tenant: str, alpha: float, delta: float) -> Certified | None:
        """The entry that answers for a promise, None when nothing was certified for it.

        An entry answers when it promises as much: its alpha and delta are at most those asked
        for. Of these the one that promises least more than was asked is taken (largest alpha,
        then largest delta), because it saves most. The tenant's own come first, also when they
        abstain: what its own requests say counts more than what everybody's say.
        """
        for name in (tenant, ALL_TENANTS):
            keeping = [
                entry
                for entry in self.by_tenant.get(name, ())
                if entry.alpha <= alpha + _SLACK and entry.delta <= delta + _SLACK
            ]
            if keeping:
                return max(keeping, key=lambda entry: (entry.alpha, entry.delta))
        return None

    def min_adequacy_for(self, tenant: str, alpha: float, delta: float) -> Threshold:
        """The threshold that keeps a tenant's promise; abstains when nothing is certified for it.

        The promise under "*" is one about the requests of all tenants together, mixed as in the
        certification data; for a tenant without entries of its own it holds as far as its
        requests are like everybody's.

        >>> all_of_them = Certified(tenant="*", alpha=0.05, delta=0.1, min_adequacy=0.8,
        ...                         n=900, n_downgraded=400, bound=0.04)
        >>> acme = Certified(tenant="acme", alpha=0.05, delta=0.1, min_adequacy=None,
        ...                  n=300, n_downgraded=0, bound=None)
        >>> contracts = Contracts.of([all_of_them, acme])
        >>> contracts.min_adequacy_for("other", 0.07, 0.1)
        Threshold(min_adequacy=0.8, is_abstaining=False, source='contract(alpha=0.05,delta=0.1)')
        >>> contracts.min_adequacy_for("acme", 0.05, 0.1)
        Threshold(min_adequacy=2.0, is_abstaining=True, source='contract: abstains')
        >>> contracts.min_adequacy_for("other", 0.01, 0.1).is_abstaining
        True
        """
        found = self.certified_for(tenant, alpha, delta)
        if found is None or found.min_adequacy is None:
            return Threshold(min_adequacy=ABSTAIN, is_abstaining=True, source=ABSTAINS)
        return Threshold(
            min_adequacy=found.min_adequacy,
            is_abstaining=False,
            source=f"contract(alpha={found.alpha:g},delta={found.delta:g})",
        )


def write_contracts(entries: Iterable[Certified], folder: Path) -> None:
    """Write the contracts of an artifact, before its manifest."""
    encoded = msgspec.json.format(msgspec.json.encode(tuple(entries)), indent=2)
    (folder / CONTRACTS_FILE).write_bytes(encoded + b"\n")
