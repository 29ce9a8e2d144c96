"""A logged decision with what it was made from, and what is told of it."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from router_model.logged_decision import LoggedDecision
from router_model.scoring import Situation
from router_model.types import Candidate, ModelCard
from router_model.weighing import Bar, Chooser


class Rule(Struct, frozen=True, kw_only=True):
    """What one rule did. `usd` None: it has no price (an excluded model without one)."""

    rule: str
    usd: float | None
    detail: str
    model: str | None = None


class Told(Struct, frozen=True, kw_only=True):
    """A logged decision with what it was made from."""

    logged: LoggedDecision
    situation: Situation
    candidates: Sequence[Candidate]
    cards: Mapping[str, ModelCard]
    chooser: Chooser

    @property
    def chosen(self) -> Candidate:
        """The candidate that answered."""
        return next(c for c in self.candidates if c.model == self.logged.model)

    @property
    def known(self) -> Sequence[Candidate]:
        """The candidates that the catalog still has."""
        return [c for c in self.candidates if c.model in self.cards]

    @property
    def bar(self) -> Bar:
        """How adequate a model had to be."""
        return self.chooser.bar(
            self.situation, min_adequacy=self.logged.min_adequacy, set_by=self.logged.contract
        )
