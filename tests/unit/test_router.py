import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from routers import (
    CARDS,
    CATALOG_TOML,
    SEEN,
    TOOL,
    ask,
    card,
    catalog,
    encoder,
    joint_predictor,
    router,
    seal,
    warm,
    write_artifact,
)

from router_model import fallback, formats
from router_model.catalog import load_catalog
from router_model.errors import ArtifactError, InvalidRequestError, NoAdmissibleModelError
from router_model.golden import GOLDEN
from router_model.persistence import save_predictor
from router_model.policy import CHEAPEST_ADEQUATE, HIGHEST_P, CheapestAdequate
from router_model.predictor import JointPredictor
from router_model.pricing import expected_cost
from router_model.router import Router
from router_model.types import (
    Caller,
    Capabilities,
    Decision,
    Expected,
    PolicyOverrides,
    PriceCard,
    Request,
    StepType,
    WireFormat,
)

ROUTER = router()
CALLER = Caller()


def decide(
    router: Router = ROUTER,
    request: Request | None = None,
    *,
    decision_id: str = "d1",
    cached: dict[str, int] | None = None,
    **overrides: object,
) -> Decision:
    return router.decide(
        request or ask(),
        caller=CALLER,
        overrides=PolicyOverrides(**overrides),  # type: ignore[arg-type] # each test names its own
        decision_id=decision_id,
        session=warm(cached or {}),
    )


def broken(*, traits: float | None = None) -> JointPredictor:
    """A predictor whose weights give no numbers."""
    joint = joint_predictor()
    joint.adequacy = msgspec.structs.replace(joint.adequacy, beta=np.full(4, np.nan))
    if traits is not None:
        joint.space = msgspec.structs.replace(
            joint.space, traits=np.full_like(joint.space.traits, traits)
        )
    return joint


def test_a_decision_says_everything_about_the_chosen_model() -> None:
    found = decide()
    chosen = found.candidates[0]
    assert found.model == chosen.model == "large"
    assert (found.snapshot, found.provider) == ("large-1", "acme")
    assert found.fallbacks == tuple(c.model for c in found.candidates[1:])
    assert found.expected == Expected.of(chosen)
    assert found.propensity == found.distribution["large"] == 1.0
    assert found.policy == "cheapest_adequate"
    assert found.excluded == {}
    assert found.step_type is StepType.MAIN
    assert found.versions.artifact == "by-hand"
    assert found.versions.catalog == ROUTER.catalog.version
    assert found.versions.policy == ROUTER.policy.version


def test_the_same_request_and_id_give_the_same_decision() -> None:
    exploring = router(policy=CheapestAdequate(exploration=0.4, near_tie=100.0))
    ids = [f"d{i}" for i in range(40)]
    first = [decide(exploring, decision_id=each) for each in ids]
    assert first == [decide(exploring, decision_id=each) for each in ids]
    assert len({each.model for each in first}) > 1
    for each in first:
        assert each.propensity == each.distribution[each.model] > 0
        assert each.model not in each.fallbacks
        assert len(each.fallbacks) == len(each.candidates) - 1


def test_a_body_is_decided_as_its_parsed_request_however_it_is_held() -> None:
    held = {"model": "auto", "messages": [{"role": "user", "content": "Fix the test"}]}
    text = json.dumps(held)
    parsed = formats.parse(text.encode())
    same = [ROUTER.decide(each) for each in (held, text, text.encode(), parsed)]
    assert same == [same[0]] * 4
    digest = ROUTER.digest(parsed)
    assert ROUTER.decide(digest, decision_id=same[0].decision_id) == same[0]


def test_without_an_id_the_same_call_of_the_same_caller_is_the_same_decision() -> None:
    body = {"messages": [{"role": "user", "content": "Fix the test"}]}
    first = ROUTER.decide(body).decision_id
    assert first == ROUTER.decide(body).decision_id
    assert first != ROUTER.decide(body, caller=Caller(user="kim")).decision_id
    assert first != ROUTER.decide(body, overrides=PolicyOverrides(min_adequacy=0.5)).decision_id
    assert ROUTER.decide(body, caller=Caller(decision_id="own")).decision_id == "own"
    assert ROUTER.decide(
        body, decision_id="mine", caller=Caller(decision_id="own")
    ).decision_id == ("mine")


def test_a_digest_needs_an_id() -> None:
    with pytest.raises(InvalidRequestError, match="decision_id: got None, expected an id"):
        ROUTER.decide(ROUTER.digest(ask()))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": [object()]}, "body: got 'dict', expected JSON"),
        ({1j: 2}, "body: got 'dict', expected JSON"),
        ("nothing", "body: not valid JSON"),
    ],
)
def test_a_body_that_is_no_json_is_refused(body: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        ROUTER.decide(body)


def test_format_and_path_say_what_the_body_is() -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "Fix the test"}]}]}
    path = "/v1beta/models/large:generateContent"
    named = ROUTER.decide(body, wire_format=WireFormat.GEMINI)
    assert named.model == ROUTER.decide(body, path=path).model
    with pytest.raises(InvalidRequestError):
        ROUTER.decide(body, wire_format=WireFormat.OPENAI_CHAT)


def test_a_price_is_that_of_the_expected_tokens() -> None:
    for candidate in decide().candidates:
        price = ROUTER.catalog.models[candidate.model].price
        assert price is not None
        assert candidate.expected_cost == expected_cost(
            price, input_tokens=candidate.input_tokens, output_tokens=candidate.output_tokens
        )


def test_a_warm_prefix_makes_a_model_cheaper_and_counts_at_most_the_input() -> None:
    price = PriceCard(input=5.0, output=25.0, cache_read=0.5)
    warm = msgspec.structs.replace(CARDS[0], price=price)
    asked = router((warm, *CARDS[1:]))
    (cold,) = (c for c in decide(asked).candidates if c.model == "large")
    (cached,) = (c for c in decide(asked, cached={"large": 10**9}).candidates if c.model == "large")
    assert cached.cached_tokens == cached.input_tokens
    assert cached.expected_cost < cold.expected_cost


def test_the_output_limit_bounds_the_expected_output() -> None:
    assert all(c.output_tokens <= 7.0 for c in decide(request=ask(max_output_tokens=7)).candidates)


def test_an_output_length_that_was_never_observed_is_a_plain_guess() -> None:
    joint = joint_predictor()
    joint.log_heads = {}
    found = decide(router(predictor=joint))
    assert {c.output_tokens for c in found.candidates} == {600.0}
    assert all(np.isnan(c.tool_call_latency_ms) for c in found.candidates)
    assert b'"tool_call_latency_ms":null' in msgspec.json.encode(found)


def test_a_requests_threshold_takes_the_cheapest_adequate_model() -> None:
    p = {c.model: c.p_adequate for c in decide().candidates}
    found = decide(min_adequacy=p["medium"])
    assert (found.model, found.reason) == ("medium", CHEAPEST_ADEQUATE)
    none = decide(min_adequacy=1.0)
    assert (none.model, none.reason) == (max(p, key=p.__getitem__), HIGHEST_P)


def test_models_that_can_not_are_excluded_with_reasons_in_the_order_of_the_catalog() -> None:
    cards = (
        card("off", output=1.0, enabled=False),
        CARDS[0],
        card("no-tools", output=1.0, capabilities=Capabilities()),
        card("dear", output=5000.0),
        card("unpriced", output=1.0, price=None),
        CARDS[2],
    )
    found = decide(router(cards), ask(tools=(TOOL,)), max_cost_usd=0.1)
    assert {name: reason.split(":")[0] for name, reason in found.excluded.items()} == {
        "off": "disabled",
        "no-tools": "no_tools",
        "dear": "too_expensive",
        "unpriced": "unknown_price",
    }
    assert list(found.excluded) == ["off", "no-tools", "dear", "unpriced"]
    assert set(found.distribution) == {"large", "small"}


def test_a_latency_limit_excludes_slow_models() -> None:
    latency = {c.model: c.tool_call_latency_ms for c in decide().candidates}
    found = decide(max_tool_call_latency_ms=latency["small"])
    assert "small" in found.distribution
    assert all(latency[model] > latency["small"] for model in found.excluded)


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"min_adequacy": 0.5, "max_cost_usd": 1e-9}, "too_expensive"),
        ({"max_cost_usd": 1e-12}, "too_expensive"),
    ],
)
def test_without_an_admissible_model_every_reason_is_given(
    overrides: dict[str, object], code: str
) -> None:
    with pytest.raises(NoAdmissibleModelError) as caught:
        decide(**overrides)  # type: ignore[arg-type] # overrides of the case
    assert set(caught.value.excluded) == set(SEEN)
    assert all(reason.startswith(code) for reason in caught.value.excluded.values())


def test_an_empty_catalog_has_no_admissible_model() -> None:
    # Stacking the descriptors of no model raised a ValueError.
    with pytest.raises(NoAdmissibleModelError, match="the catalog is empty"):
        decide(router(()))


def test_one_model_is_chosen_for_certain() -> None:
    found = decide(router(CARDS[2:]))
    assert (found.model, found.propensity, found.fallbacks) == ("small", 1.0, ())


def test_a_model_that_was_never_seen_is_scored_too() -> None:
    found = decide(router((*CARDS, card("brand-new", output=2.0))))
    p = {c.model: c.p_adequate for c in found.candidates}
    assert 0.0 < p["brand-new"] < 1.0


def test_scoring_only_allowed_models_changes_nothing_about_them() -> None:
    everything = {c.model: c for c in decide().candidates}
    for names in (("small",), ("large", "small"), ("medium",), SEEN):
        found = decide(models=names)
        assert set(found.distribution) == set(names)
        for candidate in found.candidates:
            full = everything[candidate.model]
            assert candidate.p_adequate == pytest.approx(full.p_adequate, rel=1e-12)
            # What the session does later depends on who else may answer.
            later = {"later_cost": full.later_cost, "continues_with": full.continues_with}
            same = msgspec.structs.replace(candidate, p_adequate=full.p_adequate, **later)
            assert same == full


def test_the_order_of_the_catalog_is_irrelevant() -> None:
    turned = decide(router(CARDS[::-1]))
    found = decide()
    assert turned.model == found.model
    assert [c.model for c in turned.candidates] == [c.model for c in found.candidates]


def test_without_a_prediction_the_strongest_model_answers_and_says_so() -> None:
    found = decide(router(predictor=broken()))
    assert found.model == "large"
    assert found.reason.startswith(f"{fallback.UNAVAILABLE}: p_adequate: got a value that is not")
    assert found.policy == fallback.NAME
    assert found.propensity == 1.0
    assert found.fallbacks == ("medium", "small")
    assert np.isnan(found.expected.p_adequate)
    assert b'"p_adequate":null' in msgspec.json.encode(found)


def test_trees_that_refuse_a_row_are_a_reason_to_fall_back() -> None:
    joint = joint_predictor()
    joint.trees = joint_predictor(n_features=3).trees
    found = decide(router(predictor=joint))
    assert found.reason.startswith(f"{fallback.UNAVAILABLE}: trees: got rows")


def test_the_fallback_goes_by_price_where_abilities_are_no_numbers() -> None:
    found = decide(router(predictor=broken(traits=np.nan)))
    assert [c.model for c in found.candidates] == ["large", "medium", "small"]


def test_the_fallback_keeps_to_constraints_and_cost_limits() -> None:
    failing = router(predictor=broken())
    assert decide(failing, models=("small", "medium")).model == "medium"
    found = decide(failing, max_cost_usd=0.001)
    assert found.model == "small"
    assert found.excluded["large"].startswith("too_expensive")
    with pytest.raises(NoAdmissibleModelError):
        decide(failing, max_cost_usd=1e-12)


def test_an_artifact_is_loaded_with_its_policy_and_catalog(tmp_path: Path) -> None:
    write_artifact(tmp_path, policy={"failure_cost_usd": 0.5, "exploration": 0.1})
    loaded = Router.load(tmp_path)
    assert loaded.policy == CheapestAdequate(failure_cost_usd=0.5, exploration=0.1)
    assert set(loaded.catalog.models) == {"small", "large"}
    assert loaded.versions.artifact == loaded.manifest.version
    assert decide(loaded).model in {"small", "large"}


def test_a_catalog_of_ones_own_replaces_the_artifacts(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    assert set(Router.load(tmp_path, catalog=catalog()).catalog.models) == set(SEEN)
    assert Router.load(tmp_path, catalog=catalog(())).catalog.models == {}


def test_a_loaded_router_decides_as_the_one_that_was_saved(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    overlay = load_catalog(tmp_path / "catalog.toml")
    loaded, built = Router.load(tmp_path), router(tuple(overlay.models.values()))
    for text in ("fix the test", "why", "rename all"):
        assert decide(loaded, ask(text)).candidates == decide(built, ask(text)).candidates


def test_an_artifact_of_another_feature_schema_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path, feature_schema="0" * 64)
    with pytest.raises(ArtifactError, match="trained for feature schema 000000000000, this"):
        Router.load(tmp_path)


def test_an_artifact_trained_with_another_encoder_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    seal(tmp_path, encoder_hash="other")
    with pytest.raises(ArtifactError, match="trained with encoder other, holds"):
        Router.load(tmp_path)


def test_a_predictor_of_another_size_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    save_predictor(joint_predictor(n_features=7), other)
    for path in other.iterdir():
        path.rename(tmp_path / path.name)
    seal(tmp_path)
    with pytest.raises(ArtifactError, match=r"the predictor reads \(7, "):
        Router.load(tmp_path)


def test_an_artifact_that_says_something_else_than_when_written_is_refused(
    tmp_path: Path,
) -> None:
    write_artifact(tmp_path)
    path = tmp_path / "predictor.json"
    scalars = msgspec.json.decode(path.read_bytes())
    scalars["blend"]["trees"] += 0.01
    path.write_bytes(msgspec.json.encode(scalars))
    seal(tmp_path)
    with pytest.raises(ArtifactError, match=r"golden\.json: context 0: p_adequate of"):
        Router.load(tmp_path)


def test_an_artifact_without_golden_predictions_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    (tmp_path / GOLDEN).unlink()
    seal(tmp_path)
    with pytest.raises(ArtifactError, match=r"golden\.json: can't be read"):
        Router.load(tmp_path)


@pytest.mark.parametrize(
    "policy", [{"exploration": 0.9}, {"near_tie": "wide"}, {"failure_cost_usd": -1.0}]
)
def test_a_policy_that_can_not_be_is_refused(tmp_path: Path, policy: dict[str, float]) -> None:
    write_artifact(tmp_path, policy=policy)
    with pytest.raises(ArtifactError, match="policy"):
        Router.load(tmp_path)


def test_the_context_is_embedded_with_the_artifacts_encoder() -> None:
    context = ROUTER.context(ask("fix the test"))
    vector = encoder().encode("fix the test")
    assert ROUTER.embed(context)[: len(vector)].tolist() == vector.tolist()


def test_the_catalog_of_the_hand_made_artifact_is_valid(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CATALOG_TOML)
    assert len(load_catalog(tmp_path / "c.toml").models) == 2
