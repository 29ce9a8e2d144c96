import json

import msgspec
import pytest
from serving_decisions import VERSIONS, decision

from router_model.types import PolicyOverrides
from router_serving.errors import DecisionIdReusedError
from router_serving.recent import Given, RecentAnswers, RouteAnswer, answer_of, answer_of_row

NO_LIMITS = PolicyOverrides()


def remembered(recent: RecentAnswers, decision_id: str, *, tenant: str = "t") -> RouteAnswer:
    answer = answer_of(decision(decision_id=decision_id))
    recent.remember(tenant, Given(answer, "hash", NO_LIMITS))
    return answer


def repeated(recent: RecentAnswers, decision_id: str, *, tenant: str = "t") -> RouteAnswer | None:
    return recent.repeated(tenant, decision_id, request_hash="hash", overrides=NO_LIMITS)


def test_the_answer_has_exactly_the_fields_of_the_contract() -> None:
    content = json.loads(msgspec.json.encode(answer_of(decision())))
    assert list(content) == [
        "decision_id",
        "model",
        "snapshot",
        "provider",
        "fallbacks",
        "expected",
        "propensity",
        "policy",
        "reason",
        "excluded",
        "versions",
    ]
    assert list(content["expected"]) == [
        "p_adequate",
        "cost_usd",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "tool_call_latency_ms",
    ]
    assert content["versions"] == msgspec.to_builtins(VERSIONS)


def test_a_repeated_id_gets_the_same_answer() -> None:
    recent = RecentAnswers(10)
    answer = remembered(recent, "d1")
    assert repeated(recent, "d1") is answer
    assert repeated(recent, "d2") is None


def test_another_request_under_the_same_id_is_refused() -> None:
    recent = RecentAnswers(10)
    remembered(recent, "d1")
    with pytest.raises(DecisionIdReusedError, match="d1"):
        recent.repeated("t", "d1", request_hash="other", overrides=NO_LIMITS)


def test_other_limits_under_the_same_id_are_refused() -> None:
    recent = RecentAnswers(10)
    remembered(recent, "d1")
    limits = PolicyOverrides(max_cost_usd=0.1)
    with pytest.raises(DecisionIdReusedError):
        recent.repeated("t", "d1", request_hash="hash", overrides=limits)


def test_tenants_do_not_share_ids() -> None:
    recent = RecentAnswers(10)
    remembered(recent, "d1")
    assert repeated(recent, "d1", tenant="other") is None
    assert recent.tenants_of("d1") == ("t",)
    assert recent.tenants_of("d2") == ()


def test_an_id_that_several_tenants_use_belongs_to_all_of_them() -> None:
    # The last tenant to use an id was taken for its only owner, and got the others' outcomes.
    recent = RecentAnswers(3)
    for tenant in ("a", "b", "a"):
        remembered(recent, "same", tenant=tenant)
    assert recent.tenants_of("same") == ("a", "b")
    for decision_id in ("x", "y"):
        remembered(recent, decision_id)
    # Where the oldest went, the id was forgotten for everybody.
    assert recent.tenants_of("same") == ("b",)
    assert recent.given("a", "same") is None
    remembered(recent, "z")
    assert recent.tenants_of("same") == ()


def test_the_log_recalls_every_tenant_of_an_id() -> None:
    recent = RecentAnswers(3)
    recent.recall([row("same"), row("same") | {"tenant": "other"}])
    assert recent.tenants_of("same") == ("t", "other")


def test_the_oldest_answer_is_dropped_first() -> None:
    recent = RecentAnswers(2)
    for decision_id in ("a", "b", "c"):
        remembered(recent, decision_id)
    assert len(recent) == 2
    assert repeated(recent, "a") is None
    assert recent.tenants_of("a") == ()
    assert repeated(recent, "c") is not None


def row(decision_id: str) -> dict[str, object]:
    taken = decision(decision_id=decision_id)
    return {
        **msgspec.to_builtins(taken),
        "candidates": msgspec.json.encode(taken.candidates).decode(),
        "excluded": msgspec.json.encode(taken.excluded).decode(),
        "tenant": "t",
        "request_hash": "hash",
    }


def test_a_row_of_the_log_gives_the_answer_that_was_given() -> None:
    assert answer_of_row(row("d1")) == answer_of(decision())


def test_a_row_without_an_answer_is_passed_over() -> None:
    recent = RecentAnswers(3)
    recent.recall([row("a") | {"model": ""}, row("b") | {"candidates": "[{}]"}, row("c")])
    assert len(recent) == 1
    assert repeated(recent, "c") is not None


def test_what_the_log_recalls_stands_behind_what_is_remembered() -> None:
    recent = RecentAnswers(3)
    own = remembered(recent, "own")
    recent.recall([row("own"), row("newest"), row("older"), row("oldest")])
    assert len(recent) == 3
    assert repeated(recent, "own") is own
    assert repeated(recent, "newest") == answer_of(decision(decision_id="newest"))
    assert repeated(recent, "oldest") is None
    remembered(recent, "next")
    assert repeated(recent, "older") is None
    assert repeated(recent, "newest") is not None


def test_limits_are_not_compared_when_they_are_not_known_any_more() -> None:
    recent = RecentAnswers(3)
    recent.recall([row("d1"), row("d2") | {"overrides": None}])
    limits = PolicyOverrides(max_cost_usd=0.1)
    for decision_id in ("d1", "d2"):
        assert recent.repeated("t", decision_id, request_hash="hash", overrides=limits) is not None


def test_other_limits_are_refused_after_a_restart_too() -> None:
    # The log did not keep the limits: a recalled answer was given to any.
    limits = PolicyOverrides(max_cost_usd=0.1, models=("m",))
    recent = RecentAnswers(3)
    unlimited = msgspec.to_builtins(NO_LIMITS)
    recent.recall([row("d1") | {"overrides": unlimited}, limited_row("d2", limits)])
    assert repeated(recent, "d1") == answer_of(decision())
    for decision_id, overrides in (("d1", limits), ("d2", NO_LIMITS)):
        with pytest.raises(DecisionIdReusedError):
            recent.repeated("t", decision_id, request_hash="hash", overrides=overrides)
    assert recent.repeated("t", "d2", request_hash="hash", overrides=limits) is not None


def test_the_log_recalls_session_and_side() -> None:
    recent = RecentAnswers(3)
    recent.recall([row("d1") | {"session": "s1", "rollout": "canary"}, row("d2")])
    (known, unknown) = (recent.given("t", decision_id) for decision_id in ("d1", "d2"))
    assert known is not None
    assert (known.session, known.side) == ("s1", "canary")
    assert unknown is not None
    assert (unknown.session, unknown.side) == (None, None)
    assert recent.given("other", "d1") is None


def limited_row(decision_id: str, limits: PolicyOverrides) -> dict[str, object]:
    return row(decision_id) | {"overrides": {**msgspec.to_builtins(limits), "models": ["m"]}}
