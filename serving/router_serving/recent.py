"""The answers given last, so that a repeated decision_id gets the same one again."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from router_model.errors import LogError
from router_model.incumbent import NAME as INCUMBENT
from router_model.incumbent import UNKNOWN, names_model
from router_model.logged_candidates import candidate_of
from router_model.types import Decision, Expected, PolicyOverrides, Versions
from router_serving.canary import Side
from router_serving.errors import DecisionIdReusedError
from router_serving.redaction import HASHED


class RouteAnswer(Struct, frozen=True, kw_only=True):
    """What `POST /route` answers; `timing_us` only where the caller asked for it."""

    decision_id: str
    model: str
    snapshot: str
    provider: str
    fallbacks: tuple[str, ...]
    expected: Expected
    propensity: float
    policy: str
    reason: str
    excluded: Mapping[str, str]
    versions: Versions
    timing_us: Mapping[str, int] | UnsetType = UNSET


class Given(Struct, frozen=True):
    """An answer and what it was given to; `overrides` None means not known any more.

    `side` is that of a rollout, None where there was none.
    """

    answer: RouteAnswer
    request_hash: str
    overrides: PolicyOverrides | None
    session: str | None = None
    side: Side | None = None


def answer_of(decision: Decision) -> RouteAnswer:
    """The part of a decision that the caller sees."""
    answer = RouteAnswer(
        decision_id=decision.decision_id,
        model=decision.model,
        snapshot=decision.snapshot,
        provider=decision.provider,
        fallbacks=decision.fallbacks,
        expected=decision.expected,
        propensity=decision.propensity,
        policy=decision.policy,
        reason=decision.reason,
        excluded=decision.excluded,
        versions=decision.versions,
    )
    return _under_name(answer, decision.named)


def answer_of_row(row: Mapping[str, Any]) -> RouteAnswer:
    """The same from a row of the log, whose `candidates` and `excluded` are still JSON.

    Raises msgspec.ValidationError, KeyError or LogError for a row that holds no such answer.
    """
    candidates = msgspec.json.decode(row["candidates"], type=list[dict[str, Any]])
    chosen = {entry["model"]: candidate_of(entry) for entry in candidates}[row["model"]]
    told = {
        "expected": msgspec.to_builtins(Expected.of(chosen)),
        "excluded": msgspec.json.decode(row["excluded"]),
    }
    answer = msgspec.convert({**row, **told}, RouteAnswer)
    requested = row.get("requested_model") or ""
    is_named = answer.policy == INCUMBENT and names_model(requested)
    if is_named and requested.startswith(HASHED):
        raise LogError("requested_model: the log has its hash only")
    return _under_name(answer, requested if is_named else None)


def _under_name(answer: RouteAnswer, named: str | None) -> RouteAnswer:
    """The answer with the caller's own name of its model, where it keeps it.

    Of a model that the catalog does not know, nobody knows snapshot and provider.
    """
    if named is None:
        return answer
    if answer.reason.startswith(UNKNOWN):
        return structs.replace(answer, model=named, snapshot=named, provider="")
    return structs.replace(answer, model=named)


class RecentAnswers:
    """The last `max_entries` answers by tenant and decision_id."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._given: OrderedDict[tuple[str, str], Given] = OrderedDict()
        self._tenants: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._given)

    def repeated(
        self, tenant: str, decision_id: str, *, request_hash: str, overrides: PolicyOverrides
    ) -> RouteAnswer | None:
        """The answer given before to the same request, None for a new decision_id.

        Raises DecisionIdReusedError when the request or its limits differ from the first time.
        """
        given = self._given.get((tenant, decision_id))
        if given is None:
            return None
        is_same = given.request_hash == request_hash
        if not is_same or (given.overrides is not None and given.overrides != overrides):
            raise DecisionIdReusedError(decision_id)
        return given.answer

    def remember(self, tenant: str, given: Given) -> None:
        """Keep an answer, and drop the oldest when there are too many."""
        decision_id = given.answer.decision_id
        self._given[tenant, decision_id] = given
        self._add(tenant, decision_id)
        if len(self._given) > self.max_entries:
            (owner, dropped), _ = self._given.popitem(last=False)
            if left := tuple(name for name in self._tenants[dropped] if name != owner):
                self._tenants[dropped] = left
            else:
                del self._tenants[dropped]

    def recall(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take up rows of the log, newest first, behind what is remembered already."""
        for row in rows:
            if len(self._given) >= self.max_entries:
                return
            key = (row["tenant"], row["decision_id"])
            if key in self._given:
                continue
            try:
                answer = answer_of_row(row)
                overrides = msgspec.convert(row.get("overrides"), PolicyOverrides | None)
                side = msgspec.convert(row.get("rollout"), Side | None)
            except (msgspec.ValidationError, KeyError, LogError):  # written by another version
                continue
            self._given[key] = Given(
                answer, row["request_hash"], overrides, row.get("session"), side
            )
            self._given.move_to_end(key, last=False)
            self._add(row["tenant"], row["decision_id"])

    def given(self, tenant: str, decision_id: str) -> Given | None:
        """What was given to a tenant's decision_id, None when it is not remembered."""
        return self._given.get((tenant, decision_id))

    def tenants_of(self, decision_id: str) -> tuple[str, ...]:
        """Whose decision it was, nobody's when it is not remembered; several may use one id."""
        return self._tenants.get(decision_id, ())

    def _add(self, tenant: str, decision_id: str) -> None:
        before = self._tenants.get(decision_id, ())
        if tenant not in before:
            self._tenants[decision_id] = (*before, tenant)
