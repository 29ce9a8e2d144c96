"""Decisions and outcomes with plain values, for tests of what surrounds the router."""

from typing import Any

from router_model.types import Candidate, Decision, Expected, StepType, Versions

VERSIONS = Versions(artifact="a1", catalog="c1", policy="p1")


def decision(
    *,
    decision_id: str = "d1",
    model: str = "m",
    input_tokens: int = 100,
    step_type: StepType = StepType.MAIN,
    reason: str = "cheapest_adequate: m",
) -> Decision:
    """A decision for `model`, the only candidate."""
    candidate = Candidate(
        model=model,
        p_adequate=0.9,
        expected_cost=0.01,
        input_tokens=input_tokens,
        cached_tokens=0,
        output_tokens=50.4,
        tool_call_latency_ms=800.0,
    )
    expected = Expected(
        p_adequate=0.9,
        cost_usd=0.01,
        input_tokens=input_tokens,
        cached_tokens=0,
        output_tokens=50,
        tool_call_latency_ms=800.0,
    )
    return Decision(
        decision_id=decision_id,
        model=model,
        snapshot=f"{model}-1",
        provider="p",
        fallbacks=("n",),
        expected=expected,
        propensity=1.0,
        policy="cheapest_adequate",
        reason=reason,
        excluded={"n": "no_tools"},
        versions=VERSIONS,
        distribution={model: 1.0},
        candidates=(candidate,),
        step_type=step_type,
    )


def outcome(**changes: Any) -> dict[str, Any]:
    """The JSON of an outcome as a gateway reports it."""
    return {
        "decision_id": "d1",
        "attempt": 0,
        "model": "m",
        "adequate": True,
        "usage": {"input_tokens": 100, "cached_tokens": 20, "output_tokens": 9},
        "cost_usd": 0.002,
        "latency_ms": 900.0,
        **changes,
    }
