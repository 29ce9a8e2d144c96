from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from log_samples import write_log

from router_data.compact import compact
from router_data.log import frame
from router_data.rows import (
    decision_row,
    decode_embeddings,
    decode_features,
    encode_embedding,
    encode_features,
    outcome_row,
    request_hash,
)
from router_data.store import Store
from router_model import features, formats
from router_model.digest import digest_of
from router_model.outline import outline_of
from router_model.types import (
    Caller,
    Candidate,
    Decision,
    Expected,
    Outcome,
    PolicyOverrides,
    Request,
    StepType,
    Usage,
    Versions,
    WireFormat,
)

BODY = b'{"model":"auto","messages":[{"role":"user","content":"my secret plan"}]}'
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
Float32 = npt.NDArray[np.float32]
Float16 = npt.NDArray[np.float16]


def candidate(model: str) -> Candidate:
    return Candidate(
        model=model,
        p_adequate=0.9,
        expected_cost=0.01,
        input_tokens=10,
        cached_tokens=0,
        output_tokens=20.0,
        tool_call_latency_ms=800.0,
    )


def made_decision() -> Decision:
    expected = Expected(
        p_adequate=0.9,
        cost_usd=0.01,
        input_tokens=10,
        cached_tokens=0,
        output_tokens=20,
        tool_call_latency_ms=800.0,
    )
    return Decision(
        decision_id="d1",
        model="small",
        snapshot="small-2026-01-01",
        provider="acme",
        fallbacks=("large",),
        expected=expected,
        propensity=0.75,
        policy="cheapest",
        reason="cheapest adequate",
        excluded={"tiny": "no_tools: 2 tools"},
        versions=Versions(artifact="a", catalog="c", policy="p"),
        distribution={"small": 0.75, "large": 0.25},
        candidates=(candidate("small"), candidate("large"), candidate("dear")),
        step_type=StepType.MAIN,
    )


def made_row(**changes: object) -> dict[str, object]:
    request = formats.parse(BODY)
    return decision_row(
        made_decision(),
        caller=Caller(tenant="acme", key="k", user="ann"),
        digest=digest_of(
            outline_of(request), features.extract(request), np.ones(4, dtype=np.float32)
        ),
        request_hash=request_hash(request),
        encoder="e1",
        session="s1",
        wire_format=WireFormat.OPENAI_CHAT,
        now_ms=123,
        **changes,  # type: ignore[arg-type] # any keyword
    )


def test_a_decision_row_holds_what_is_needed_to_learn_from_it() -> None:
    row = made_row()
    assert (row["kind"], row["schema"], row["ts_ms"]) == ("decision", 3, 123)
    assert (row["tenant"], row["key"], row["user"]) == ("acme", "k", "ann")
    assert (row["model"], row["propensity"], row["feedback"]) == ("small", 0.75, "bandit")
    assert row["versions"] == {"artifact": "a", "catalog": "c", "policy": "p"}
    assert row["feature_schema"] == features.SCHEMA.hash
    assert row["format"] == "openai.chat"
    assert row["requested_model"] == "auto"


def test_every_candidate_is_logged_with_the_probability_it_had() -> None:
    candidates = made_row()["candidates"]
    assert isinstance(candidates, list)
    found = {entry["model"]: entry["probability"] for entry in candidates}
    assert found == {"small": 0.75, "large": 0.25, "dear": 0.0}


def test_the_prompt_is_not_logged_unless_it_is_passed_on_purpose() -> None:
    assert b"secret" not in frame(made_row())
    assert b"secret" in frame(made_row(text="my secret plan"))


def test_what_was_in_effect_is_logged_and_read_back(tmp_path: Path) -> None:
    overrides = PolicyOverrides(min_adequacy=0.7, models=("small", "large"))
    exploration = {"share": 0.05, "floor": 0.01, "budget_left_usd": 2.5, "off": None}
    shadow = {"artifact": "b", "model": "large", "distribution": {"large": 1.0}}
    row = made_row(
        overrides=overrides,
        min_adequacy=0.8,
        contract="contract(alpha=0.05,delta=0.1)",
        exploration=exploration,
        rollout="canary",
        shadow=shadow,
    )
    write_log(tmp_path, [row])
    with Store(tmp_path) as store:
        found = store.decision("d1")
    assert found is not None
    assert found["overrides"] == {
        "min_adequacy": 0.7,
        "max_cost_usd": None,
        "max_tool_call_latency_ms": None,
        "models": ["small", "large"],
        "objective": None,
        "deterministic": None,
        "pin_session": None,
    }
    assert (found["min_adequacy"], found["rollout"]) == (0.8, "canary")
    assert (found["exploration"], found["shadow"]) == (exploration, shadow)


def test_rows_of_schema_1_are_read_with_nothing_in_the_later_fields(tmp_path: Path) -> None:
    limits = ("max_output_tokens", "overrides", "min_adequacy")
    later = (*limits, "contract", "exploration", "rollout", "shadow")
    row = {name: value for name, value in made_row().items() if name not in later}
    write_log(tmp_path, [row | {"schema": 1}])
    compact(tmp_path)
    write_log(tmp_path, [row | {"schema": 1, "decision_id": "d2"}])
    with Store(tmp_path) as store:
        for key in ("d1", "d2"):
            found = store.decision(key)
            assert found is not None
            assert [found[name] for name in later] == [None] * 7


def test_features_in_a_row_are_bit_equal_to_those_extracted() -> None:
    row = made_row()
    values = features.extract(formats.parse(BODY)).values
    decoded = decode_features([str(row["features"])])[0]
    assert decoded.tobytes() == values.astype(np.float32).tobytes()


def test_an_outcome_row_holds_the_whole_outcome() -> None:
    outcome = Outcome(
        decision_id="d1",
        model="small",
        attempt=2,
        adequate=False,
        usage=Usage(input_tokens=5, output_tokens=6),
        error="timeout",
    )
    row = outcome_row(outcome, tenant="acme", now_ms=9)
    assert (row["kind"], row["tenant"], row["ts_ms"]) == ("outcome", "acme", 9)
    assert (row["decision_id"], row["attempt"], row["adequate"]) == ("d1", 2, False)
    assert row["usage"]["output_tokens"] == 6
    assert row["error"] == "timeout"


def test_the_request_hash_depends_on_the_content_only() -> None:
    other = BODY.replace(b'{"model"', b'{ "unknown": 1, "model"')
    assert request_hash(formats.parse(BODY)) == request_hash(formats.parse(other))
    assert request_hash(formats.parse(BODY)) != request_hash(Request(messages=()))


@given(npst.arrays(np.float32, (3, 5), elements=finite))
def test_features_come_back_exactly(
    values: Float32,
) -> None:
    decoded = decode_features([encode_features(row) for row in values])
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, values)


@given(npst.arrays(np.float16, (3, 5), elements=st.floats(-100, 100, width=16)))
def test_embeddings_of_half_precision_come_back_exactly(
    values: Float16,
) -> None:
    decoded = decode_embeddings([encode_embedding(row.astype(np.float32)) for row in values])
    np.testing.assert_array_equal(decoded, values.astype(np.float32))


def test_no_rows_decode_to_an_empty_matrix() -> None:
    assert decode_features([]).shape == (0, 0)
