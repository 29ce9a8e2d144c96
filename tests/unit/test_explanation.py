import base64
from typing import Any

import msgspec
import numpy as np
import pytest
from decided_rows import logged_row
from routers import TOOL, ask, joint_predictor, router

from router_model import fallback
from router_model.calibration import Calibration
from router_model.contract import ABSTAIN
from router_model.embedding import MATCH_NAMES
from router_model.errors import LogError
from router_model.explanation import N_SHOWN, OTHER_GROUP, TEXT_GROUP, _table
from router_model.features import SCHEMA
from router_model.policy import ABSTAINED, HIGHEST_P, CheapestAdequate
from router_model.router import Router
from router_model.types import Request

ROUTER = router()


def record(router: Router = ROUTER, request: Request | None = None, **overrides: Any) -> Any:
    """The log row of a decision, once through JSON as in the log."""
    return logged_row(router, request or ask(tools=(TOOL,)), **overrides)


def would(explained: dict[str, Any]) -> dict[str, str]:
    return {entry["model"]: entry["if"] for entry in explained["would_change"]}


def test_the_records_own_fields_are_kept_without_the_raw_vectors() -> None:
    row = record()
    found = ROUTER.explain(row)
    assert not {"features", "embedding"} & set(found)
    assert found["decision_id"] == "d1"
    assert found["candidates"] == row["candidates"]
    assert found["is_same_version"] is True
    msgspec.json.encode(found)


def test_contributions_are_the_largest_ones_of_every_candidate() -> None:
    found = ROUTER.explain(record())["contributions"]
    assert set(found) == {"large", "medium", "small"}
    names = {*SCHEMA.names, *MATCH_NAMES, TEXT_GROUP, OTHER_GROUP}
    for shown in found.values():
        assert 0 < len(shown) <= N_SHOWN
        sizes = [abs(entry["log_odds"]) for entry in shown]
        assert sizes == sorted(sizes, reverse=True)
        assert {entry["feature"] for entry in shown} <= names


def test_contributions_add_up_to_the_log_odds_before_calibration() -> None:
    joint = joint_predictor()
    joint.calibration = Calibration.identity()
    plain = router(predictor=joint)
    context = plain.context(ask(tools=(TOOL,)))
    embedding = plain.embed(context)
    p = plain.scorer.bound.predict(context.values, embedding).p_adequate
    table = _table(plain.scorer.bound, context.values, embedding)
    assert table.sum(axis=1) == pytest.approx(np.log(p / (1 - p)))


def test_a_record_of_another_feature_schema_has_no_contributions() -> None:
    assert ROUTER.explain(record() | {"feature_schema": "other"})["contributions"] == {}
    assert ROUTER.explain(record() | {"features": None})["contributions"] == {}
    assert ROUTER.explain(record() | {"features": None})["rules"] == []


def test_models_that_the_catalog_no_longer_has_are_passed_over() -> None:
    row = record()
    smaller = router(tuple(ROUTER.catalog.models.values())[1:])
    found = smaller.explain(row)
    assert set(found["contributions"]) == set(found["prices"]) == {"medium", "small"}
    assert found["is_same_version"] is False
    assert found["explained_with"]["catalog"] == smaller.versions.catalog


def test_a_cheaper_model_would_have_been_chosen_if_failing_cost_less() -> None:
    row = record()
    assert row["model"] == "large"
    p = {c["model"]: c["p_adequate"] for c in row["candidates"]}
    cost = {c["model"]: c["expected_cost"] for c in row["candidates"]}
    limit = (cost["large"] - cost["medium"]) / (p["large"] - p["medium"])
    said = would(ROUTER.explain(row))
    assert f"an inadequate answer cost less than ${limit:.4f}" in said["medium"]
    cheaper = router(policy=CheapestAdequate(failure_cost_usd=limit * 0.999))
    assert record(cheaper)["model"] != "large"


def test_a_better_model_would_have_been_chosen_if_more_were_asked() -> None:
    row = record(min_adequacy=0.0)
    assert row["model"] == "small"
    p = {c["model"]: c["p_adequate"] for c in row["candidates"]}
    said = would(ROUTER.explain(row))
    assert said["large"].startswith(f"min_adequacy were above {p['small']:.3f}")
    assert record(min_adequacy=p["small"] + 0.001)["model"] != "small"


def test_excluded_models_say_why() -> None:
    said = would(ROUTER.explain(record(models=("small", "medium"))))
    assert (
        said["large"]
        == "it were not excluded (not_allowed: not among policy.models and the tenant's models)"
    )


def test_where_none_was_adequate_a_lower_threshold_would_have_changed_it() -> None:
    row = record(min_adequacy=1.0)
    assert row["reason"] == HIGHEST_P
    assert all(
        text.startswith("min_adequacy were at most 0.")
        for text in would(ROUTER.explain(row)).values()
    )


def test_a_dominated_model_needs_a_lower_price_or_a_higher_p() -> None:
    row = record(min_adequacy=0.0)
    row["candidates"][1]["p_adequate"] = 0.0
    other = row["candidates"][1]["model"]
    assert would(ROUTER.explain(row))[other].startswith("it cost $")


def test_an_explored_choice_says_that_it_was_drawn() -> None:
    row = record()
    row["model"] = "small"
    (small,) = (c for c in row["candidates"] if c["model"] == "small")
    small["expected_cost"] = 1.0
    assert would(ROUTER.explain(row))["large"].startswith("exploration had not drawn small")


def test_the_first_choice_is_told_that_another_one_was_drawn() -> None:
    row = record(router(policy=CheapestAdequate(exploration=0.4, near_tie=1e6)))
    first, other = row["candidates"][0]["model"], row["candidates"][1]["model"]
    row |= {"model": other, "propensity": 0.25}
    found = ROUTER.explain(row)
    assert found["would_change"][0] == {
        "model": first,
        "if": f"exploration had not drawn {other} (its share was 0.250)",
    }
    assert len(found["would_change"]) == len(row["candidates"]) - 1


def test_an_abstention_asks_for_a_certified_contract() -> None:
    row = record(min_adequacy=ABSTAIN)
    assert row["reason"] == ABSTAINED
    assert all(text.startswith("a contract") for text in would(ROUTER.explain(row)).values())


def test_a_fallback_decision_is_explained_as_one() -> None:
    # Its candidates have no p, which could not be read back from the log.
    joint = joint_predictor()
    joint.adequacy = msgspec.structs.replace(joint.adequacy, beta=np.full(4, np.nan))
    failing = router(predictor=joint)
    row = record(failing)
    assert row["candidates"][0]["p_adequate"] is None
    found = failing.explain(row)
    assert found["reason"].startswith(fallback.UNAVAILABLE)
    assert found["contributions"] == {}
    assert set(would(found).values()) == {
        "a prediction had been possible, or every stronger model were not admissible"
    }


def test_a_latency_that_was_not_known_is_no_hindrance() -> None:
    row = record()
    for candidate in row["candidates"]:
        candidate["tool_call_latency_ms"] = None
    assert ROUTER.explain(row)["contributions"]


def test_an_imported_record_without_a_choice_has_no_alternatives() -> None:
    found = ROUTER.explain({"decision_id": "d1", "model": "", "candidates": []})
    assert found["would_change"] == []
    assert found["contributions"] == {}
    assert found["is_same_version"] is False


def test_missing_feature_values_are_shown_as_null() -> None:
    row = record()
    values = np.full(SCHEMA.n, np.nan, dtype="<f4")
    row["features"] = base64.b64encode(values.tobytes()).decode()
    explained = ROUTER.explain(row)
    assert explained["rules"]
    encoded = msgspec.json.encode(explained["contributions"])
    assert b'"value":null' in encoded
    assert b"nan" not in encoded.lower().replace(b'"nan', b"")


def test_a_candidate_that_can_not_be_read_names_the_log() -> None:
    row = record()
    row["candidates"][0]["expected_cost"] = "much"
    with pytest.raises(LogError, match="candidates: can't be read from the log"):
        ROUTER.explain(row)
