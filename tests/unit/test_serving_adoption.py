import json
from pathlib import Path

import msgspec
import pytest
from routers import catalog, router
from served_engine import Served

from router_model.errors import NoAdmissibleModelError
from router_model.incumbent import Incumbent
from router_model.outline import outline_of
from router_model.policy import CheapestAdequate
from router_model.replay import replay
from router_model.terms import Exploration, Terms
from router_model.types import Message, Outcome, Part, Request, Usage
from router_serving.adoption import Adoption, Place
from router_serving.canary import CanaryMonitor
from router_serving.envelope import opened
from router_serving.errors import TenantsError
from router_serving.recent import answer_of_row
from router_serving.rollout import Rollout
from router_serving.rollout_file import RolloutFile
from router_serving.settings import Settings
from router_serving.tenants import Tenants, TenantSettings, load_tenants

TEXT = "fix the test"


def asking(model: str = "auto") -> Request:
    part = Part(kind="text", text=TEXT)
    return Request(messages=(Message("user", (part,)),), requested_model=model)


def body(model: str = "auto", *, session: str = "s1") -> bytes:
    request = {"model": model, "messages": [{"role": "user", "content": TEXT}]}
    caller = {"tenant": "acme", "session": session}
    return json.dumps({"request": request, "caller": caller}).encode()


def served(adoption: Adoption, terms: Terms | None = None) -> Served:
    found = Served(router(policy=CheapestAdequate(near_tie=1e6)))
    use(found, adoption, terms)
    return found


def use(found: Served, adoption: Adoption, terms: Terms | None = None) -> None:
    settings = TenantSettings(terms or Terms(), adoption=adoption)
    found.engine.use_tenants(Tenants(TenantSettings(Terms()), {"acme": settings}))


OBSERVED = Adoption(0.0, "medium")


def test_a_share_that_grows_keeps_the_sessions_it_had() -> None:
    sessions = [f"s{i}" for i in range(2000)]

    def routed(share: float, tenant: str = "acme") -> set[str]:
        placed = {s: Adoption(share, "m").place(tenant, s) for s in sessions}
        return {s for s, place in placed.items() if place == Place(arm="router", share=share)}

    few, some, most = routed(0.05), routed(0.3), routed(0.8)
    assert few < some < most
    assert abs(len(some) / 2000 - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5
    assert routed(0.3) == some
    assert routed(0.3, tenant="other") != some
    assert routed(0.0) == set()


def test_where_every_session_is_routed_nothing_is_placed() -> None:
    assert Adoption().place("acme", "s1") is None


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("auto", Incumbent("medium", "medium")),
        ("Auto", Incumbent("medium", "medium")),
        ("", Incumbent("medium", "medium")),
        ("large", Incumbent("large", "large")),
        ("acme/Large", Incumbent("acme/Large", "large")),
        ("large-1", Incumbent("large-1", "large")),
        ("my-finetune", Incumbent("my-finetune", "medium", is_known=False)),
    ],
)
def test_the_caller_keeps_the_model_it_names(model: str, expected: Incumbent) -> None:
    place = OBSERVED.place("acme", "s1")
    found = OBSERVED.incumbent_for(place, outline_of(asking(model)), catalog())
    assert found == expected


@pytest.mark.parametrize("name", ["large", "large-1", "acme/Large", "gpt-4o", "ft:x:acme::1"])
def test_the_answer_has_exactly_the_string_that_the_body_named(name: str) -> None:
    found = served(OBSERVED, Terms(models=("small", "medium")))
    answer = found.sent(body(name)).answer
    assert (answer.model, answer.policy) == (name, "incumbent")
    (row,) = found.rows()
    assert row["model"] in catalog().models
    assert row["requested_model"] == name
    logged = msgspec.json.decode(msgspec.json.encode(row))
    assert replay(logged, found.engine.router).is_identical
    told = dict(logged)
    for column in ("candidates", "excluded"):
        told[column] = msgspec.json.encode(told[column])
    assert answer_of_row(told) == answer


def test_the_setting_stands_in_for_a_model_that_the_catalog_does_not_know() -> None:
    found = served(OBSERVED)
    answer = found.sent(body("my-finetune")).answer
    assert answer.reason.startswith("incumbent_unknown: ")
    assert (answer.model, answer.snapshot, answer.provider) == ("my-finetune", "my-finetune", "")
    known = found.sent(body("medium", session="s2")).answer
    assert answer.expected == known.expected
    exposed = found.metrics.exposition(queue_rows=0, sessions=0).decode()
    assert 'router_decisions_total{model="medium",reason="incumbent_unknown"} 1.0' in exposed


def test_no_cache_is_warm_after_a_call_to_a_model_that_the_catalog_does_not_know() -> None:
    found = served(OBSERVED)
    answered = found.sent(body("my-finetune")).answer
    usage = Usage(input_tokens=5_000, output_tokens=10)
    outcome = Outcome(decision_id=answered.decision_id, model="my-finetune", usage=usage)
    found.engine.observe(outcome, tenant="acme")
    found.sent(body("my-finetune"))
    *_, row = found.rows()
    session = row["situation"]["session"]
    assert (session["model"], session["turn"], session["prefixes"]) == (None, 1, {})


def test_an_incumbent_that_a_new_catalog_lacks_is_no_server_error() -> None:
    place = OBSERVED.place("acme", "s1")
    with pytest.raises(NoAdmissibleModelError) as refused:
        OBSERVED.incumbent_for(place, outline_of(asking()), catalog(()))
    assert refused.value.excluded["medium"].startswith("unknown_incumbent")


def test_while_observing_the_callers_model_is_answered_and_ours_is_logged() -> None:
    found = served(OBSERVED, Terms(exploration=Exploration(share=0.4, floor=0.1)))
    auto = found.sent(body()).answer
    named = found.sent(body("large", session="s2")).answer
    assert (auto.model, named.model) == ("medium", "large")
    assert {auto.policy, named.policy} == {"incumbent"}
    assert auto.fallbacks == ()
    exposed = found.metrics.exposition(queue_rows=0, sessions=0).decode()
    assert 'router_adoption_decisions_total{arm="incumbent"} 2.0' in exposed
    assert 'router_explorations_total{state="incumbent"} 2.0' in exposed
    rows = found.rows()
    assert [row["adoption"] for row in rows] == [{"arm": "incumbent", "share": 0.0}] * 2
    assert {row["feedback"] for row in rows} == {"observational"}
    for row in rows:
        assert sum(row["shadow"]["distribution"].values()) == pytest.approx(1.0)
        assert row["shadow"]["model"] in row["shadow"]["distribution"]
        assert row["took_us"] > 0
        assert row["rollout"] is None


def test_a_changed_setting_routes_a_share_and_then_everybody() -> None:
    found = served(OBSERVED)
    sessions = [f"s{i}" for i in range(60)]

    def models() -> list[str]:
        return [found.sent(body("large", session=session)).answer.policy for session in sessions]

    assert set(models()) == {"incumbent"}
    use(found, Adoption(0.5, "medium"))
    half = models()
    assert models() == half
    assert 15 < half.count("incumbent") < 45
    use(found, Adoption())
    assert "incumbent" not in models()
    rows = found.rows()
    assert rows[-1]["adoption"] is None
    arms = {(row["session"], row["adoption"]["arm"]) for row in rows[60:180]}
    assert len(arms) == 60


def test_the_session_remembers_the_model_that_was_really_used() -> None:
    found = served(OBSERVED)
    answered = found.sent(body("large"))
    usage = Usage(input_tokens=5_000, output_tokens=10)
    outcome = Outcome(decision_id=answered.answer.decision_id, model="large", usage=usage)
    found.engine.observe(outcome, tenant="acme")
    found.sent(body("large"))
    *_, row = found.rows()
    assert row["situation"]["session"]["model"] == "large"


def test_a_session_that_keeps_its_model_has_no_part_in_a_rollout() -> None:
    found = served(Adoption(0.5, "medium"))
    file = RolloutFile(mode="canary", share=1.0, artifact="c", min_outcomes=5)
    other = router(policy=CheapestAdequate(failure_cost_usd=0.0), version="new")
    found.engine.use_rollout(Rollout(file, other, CanaryMonitor(file.promise)))
    for i in range(40):
        found.sent(body(session=f"s{i}"))
    rows = found.rows()
    sides = {(row["adoption"]["arm"], row["rollout"]) for row in rows}
    assert sides == {("incumbent", None), ("router", "canary")}
    version = {row["shadow"]["artifact"] for row in rows if row["policy"] == "incumbent"}
    assert version == {found.engine.router.versions.artifact}


def test_a_call_that_waited_too_long_keeps_its_model_too() -> None:
    found = served(OBSERVED)
    call = opened(body("large"), {}, catalog=found.engine.router.catalog)
    answer = found.answered(call, waited_ms=60_000.0).answer
    assert (answer.model, answer.policy) == ("large", "incumbent")
    (row,) = found.rows()
    assert row["embedding"] is None
    assert row["shadow"]["reason"].startswith("fallback_deadline")
    logged = msgspec.json.decode(msgspec.json.encode(row))
    assert replay(logged, found.engine.router).is_identical


def loaded(folder: Path, text: str) -> Tenants:
    (folder / "tenants.toml").write_text(text)
    return load_tenants(Settings(state_dir=folder), catalog())


def test_one_setting_says_how_far_a_tenant_has_gone(tmp_path: Path) -> None:
    tenants = loaded(
        tmp_path,
        """
        [default]
        adoption = "observe"
        incumbent = "Large"
        [tenants.trying]
        adoption = 0.1
        incumbent = "small-1"
        [tenants.done]
        adoption = "full"
        models = ["small"]
        """,
    )
    assert tenants.of("anybody").adoption == Adoption(0.0, "large")
    assert tenants.of("trying").adoption == Adoption(0.1, "small")
    assert tenants.of("done").adoption == Adoption(1.0, "large")
    assert loaded(tmp_path, "").of("anybody").adoption == Adoption()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "adoption = 'canary'\nincumbent = 'large'",
            r'default\.adoption: got .canary., expected "observe", a share of sessions between 0 '
            r'and 1, or "full"',
        ),
        ("adoption = 1.5\nincumbent = 'large'", r"default\.adoption: got 1\.5, expected"),
        ("adoption = 0.0\nincumbent = 'large'", r"default\.adoption: got 0\.0, expected"),
        ("adoption = 1\nincumbent = 'large'", r"default\.adoption: got 1, expected"),
        ("adoption = nan\nincumbent = 'large'", r"default\.adoption: got nan, expected"),
        ("adoption = true\nincumbent = 'large'", r"default\.adoption: got True, expected"),
        ("adoption = [0.1]\nincumbent = 'large'", r"default\.adoption: got \[0\.1\], expected"),
        ("adoption = 'observe'", r"default\.incumbent: missing; expected the model that answers"),
        ("adoption = 0.1\nincumbent = 'x'", r"default\.incumbent: got 'x', expected a model of"),
        ("incumbent = 3", r"default\.incumbent: got 3, expected"),
        (
            "adoption = 'observe'\nincumbent = 'large'\nmodels = ['small']",
            r"default\.incumbent: got 'large', expected one of its models: small",
        ),
    ],
)
def test_what_is_wrong_with_the_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TenantsError, match=message):
        loaded(tmp_path, f"[default]\n{text}")
