"""Tenants that use the same ids of decisions and sessions, in every memory of the process."""

import json

import pytest
from routers import router
from served_engine import BODY, Served
from serving_decisions import decision
from session_memories import CATALOG, REQUEST, card, remembered, seen

from router_model.errors import InvalidRequestError
from router_model.types import Outcome, PolicyOverrides, Request, ToolSpec, Usage
from router_serving.recent import Given, RecentAnswers, answer_of
from router_serving.routes import Report, reports_of
from router_serving.sessions import SessionMemory

OTHERS_BODY = json.dumps({"messages": [{"role": "user", "content": "write a poem"}]}).encode()


def recent_of(*owned: tuple[str, str]) -> RecentAnswers:
    """Answers given to these tenants under these ids."""
    recent = RecentAnswers(10)
    for tenant, decision_id in owned:
        answer = answer_of(decision(decision_id=decision_id))
        recent.remember(tenant, Given(answer, "hash", PolicyOverrides()))
    return recent


def whose(
    recent: RecentAnswers, *decision_ids: str, tenant: str | None = None
) -> list[tuple[str, bool]]:
    outcomes = [Outcome(decision_id=decision_id, model="m") for decision_id in decision_ids]
    reports: list[Report] = reports_of(outcomes, tenant=tenant, recent=recent)
    return [(report.tenant, report.is_matched) for report in reports]


def test_an_outcome_of_a_named_tenant_is_never_anothers() -> None:
    recent = recent_of(("a", "as"), ("b", "bs"), ("a", "same"), ("b", "same"))
    ids = ("as", "bs", "same", "unknown")
    assert whose(recent, *ids, tenant="a") == [("a", m) for m in (True, False, True, False)]
    assert whose(recent, *ids, tenant="c") == [("c", False)] * 4


def test_an_outcome_without_a_tenant_is_that_of_its_only_decision() -> None:
    recent = recent_of(("a", "as"), ("b", "bs"))
    found = whose(recent, "as", "bs", "unknown")
    assert found == [("a", True), ("b", True), ("default", False)]


def test_an_outcome_that_may_be_that_of_several_is_refused() -> None:
    recent = recent_of(("a", "as"), ("a", "same"), ("b", "same"))
    with pytest.raises(InvalidRequestError, match=r"x-router-tenant.*'same' \(outcome 1\)"):
        whose(recent, "as", "same")


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(decision_id="d1", model="n"),
        Outcome(decision_id="d1", model="m", error="timeout"),
        Outcome(decision_id="d1", model="m", usage=Usage(input_tokens=6000, cached_tokens=9)),
        Outcome(decision_id="d1", model="unknown"),
    ],
    ids=["fallback", "failed", "billed", "unknown model"],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_an_outcome_changes_no_session_of_another_tenant(outcome: Outcome, is_known: bool) -> None:
    with_tools = Request(messages=REQUEST.messages, tools=(ToolSpec("read_file"),))
    memory = SessionMemory(10)
    remembered(memory, request=with_tools, pin_session=True)
    if is_known:
        remembered(memory, tenant="other", card=card(id="n"), request=with_tools)
    before = seen(memory), seen(memory, with_tools)
    memory.observe(outcome, tenant="other", catalog=CATALOG)
    assert (seen(memory), seen(memory, with_tools)) == before


def test_tenants_with_the_same_id_of_a_decision_get_their_own_answers() -> None:
    served = Served(router())
    sent = {}
    for tenant, body in (("a", BODY), ("b", OTHERS_BODY)):
        headers = {"x-router-tenant": tenant, "x-router-decision-id": "same"}
        first, again = served.sent(body, headers), served.sent(body, headers)
        assert again.answer is first.answer
        assert again.decided is None
        sent[tenant] = first.answer
    assert sent["a"] is not sent["b"]
    hashes = {row["tenant"]: row["request_hash"] for row in served.rows()}
    assert hashes.keys() == {"a", "b"}
    assert hashes["a"] != hashes["b"]
