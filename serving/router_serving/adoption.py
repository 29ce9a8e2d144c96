"""How far a tenant has adopted the router: which sessions it routes, and who answers the others.

One setting of `tenants.toml` says it, `adoption`: "observe" (no session), a share of the sessions,
or "full" (all of them, the default). What is not routed keeps the model that the caller uses: the
one that the call names, whatever it is, or the setting `incumbent` where it names none. Decisions
are made and logged for those calls too, as what would have been.
"""

from typing import Final, Literal

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter

from router_model.catalog import Catalog
from router_model.errors import InvalidRequestError, NoAdmissibleModelError
from router_model.incumbent import Incumbent, incumbent_of, names_model
from router_model.outline import Outline
from router_model.types import Decision
from router_serving.canary import session_key
from router_serving.errors import TenantsError

OBSERVE: Final = "observe"
FULL: Final = "full"
Arm = Literal["router", "incumbent"]
ROUTER: Final[Arm] = "router"
INCUMBENT: Final[Arm] = "incumbent"
# Other than that of any artifact: who is routed says nothing about whose canary decides.
_SALT: Final = "adoption"
_KEYS: Final = 2**64
_ALLOWED: Final = f'"{OBSERVE}", a share of sessions between 0 and 1, or "{FULL}"'


class Place(Struct, frozen=True, kw_only=True):
    """Where a session belongs: its arm, and the share of sessions that is routed."""

    arm: Arm
    share: float


class Adoption(Struct, frozen=True):
    """The share of a tenant's sessions that is routed, and the model that answers the others."""

    share: float = 1.0
    incumbent: str = ""

    def place(self, tenant: str, session: str) -> Place | None:
        """Where a session belongs, always the same for one share; None where all are routed.

        It follows from a salted hash alone, so every worker agrees, and so does a restart. A share
        that grows keeps the sessions that were routed before.
        """
        if self.share >= 1.0:
            return None
        is_routed = session_key(tenant, session, salt=_SALT) < self.share * _KEYS
        return Place(arm=ROUTER if is_routed else INCUMBENT, share=self.share)

    def incumbent_for(
        self,
        place: Place | None,
        outline: Outline,
        catalog: Catalog,
    ) -> Incumbent | None:
        """The model that the caller goes on with, None where its session is routed.

        The setting stands in for a named model that the catalog does not know. Raises
        NoAdmissibleModelError where the catalog in use does not know the setting any more either.
        """
        if not is_kept(place):
            return None
        name = outline.requested_model
        name = name if names_model(name) else self.incumbent
        try:
            stand_in = self.incumbent if self.incumbent in catalog.models else None
            return incumbent_of(name, catalog, stand_in=stand_in)
        except InvalidRequestError:
            reason = "unknown_incumbent: the catalog in use does not have it"
            raise NoAdmissibleModelError({self.incumbent: reason}) from None


def is_kept(place: Place | None) -> bool:
    """True where the session goes on with the caller's own model."""
    return place is not None and place.arm == INCUMBENT


EVERYBODY: Final = Adoption()


class AdoptionCounts:
    """Counts decisions by arm, and what would have been chosen where the caller's model stays."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._arms = Counter(
            "router_adoption_decisions",
            "Decisions by arm, while not every session is routed",
            ["arm"],
            registry=registry,
        )
        self._shadows = Counter(
            "router_adoption_shadows",
            "Calls that kept their own model, by the one that would have been chosen",
            ["model"],
            registry=registry,
        )

    def decided(self, place: Place | None, decision: Decision) -> None:
        """Count one decision; nothing where every session is routed."""
        if place is None:
            return
        self._arms.labels(place.arm).inc()
        if is_kept(place):
            self._shadows.labels("none" if decision.shadow is None else decision.shadow.model).inc()


def adoption_of(
    place: str,
    *,
    adoption: object,
    incumbent: str | None,
    models: tuple[str, ...] | None,
    catalog: Catalog,
) -> Adoption:
    """What a table of the file says, which `place` names; `models` is the tenant's pin.

    Raises TenantsError naming key, value and what is allowed.
    """
    share = _share(place, adoption)
    if incumbent is None:
        if share < 1.0:
            raise TenantsError(
                f"{place}.incumbent: missing; expected the model that answers sessions that are "
                "not routed, where a call names no model"
            )
        return Adoption(share)
    card = catalog.resolve(incumbent)
    if card is None or card.price is None:
        priced = ", ".join(sorted(m for m, c in catalog.models.items() if c.price is not None))
        raise TenantsError(
            f"{place}.incumbent: got {incumbent!r}, expected a model of the catalog with a price: "
            f"{priced}"
        )
    if share < 1.0 and models is not None and card.id not in models:
        raise TenantsError(
            f"{place}.incumbent: got {incumbent!r}, expected one of its models: {', '.join(models)}"
        )
    return Adoption(share, card.id)


def _share(place: str, adoption: object) -> float:
    if adoption is None or adoption == FULL:
        return 1.0
    if adoption == OBSERVE:
        return 0.0
    if isinstance(adoption, float) and 0.0 < adoption < 1.0:
        return adoption
    raise TenantsError(f"{place}.adoption: got {adoption!r}, expected {_ALLOWED}")
