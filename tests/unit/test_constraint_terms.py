import msgspec
import pytest
from constraint_cases import CANDIDATE, CARD, PLAIN, TOOL, asking, reason, without

from router_model.constraints import (
    admissible,
    beyond_windows,
    exclusion,
    needs_of,
    within_limits,
)
from router_model.locks import Lock
from router_model.outline import outline_of
from router_model.types import PolicyOverrides, ToolChoice, ToolSpec


@pytest.mark.parametrize("allowed", [None, False, True])
def test_parallel_calls_are_a_permission_and_no_demand(allowed: bool | None) -> None:
    single = without(parallel_tools=False)
    assert reason(single, asking(tools=(TOOL,), parallel_tool_calls=allowed)) is None


def test_a_strict_tool_that_may_not_be_called_needs_no_strict_schema() -> None:
    blocked = asking(
        tools=(ToolSpec(name="edit", is_strict=True),), tool_choice=ToolChoice(mode="none")
    )
    assert reason(without(strict_schema=False), blocked) is None


def test_a_service_tier_that_is_not_sold_is_no_reason() -> None:
    assert reason(request=asking(service_tier="flex")) is None


@pytest.mark.parametrize("asked", [{}, {"seed": 7}, {"temperature": 0.0}])
def test_determinism_takes_a_seed_and_a_pinned_snapshot_whatever_the_request_sets(
    asked: dict[str, object],
) -> None:
    overrides = PolicyOverrides(deterministic=True)
    request = asking(**asked)
    moved = msgspec.structs.replace(CARD, is_snapshot_pinned=False)
    neither = msgspec.structs.replace(without(seed=False), is_snapshot_pinned=False)
    assert reason(request=request, overrides=overrides) is None
    assert reason(without(seed=False), request, overrides=overrides) == (
        "not_deterministic: honours no seed"
    )
    assert reason(moved, request, overrides=overrides) == (
        "not_deterministic: its snapshot is not pinned"
    )
    assert reason(neither, request, overrides=overrides) == (
        "not_deterministic: honours no seed and its snapshot is not pinned"
    )
    assert reason(neither, request) is None
    assert reason(neither, request, overrides=PolicyOverrides(deterministic=False)) is None


OTHER = msgspec.structs.replace(CARD, id="other", snapshot="other-1", aliases=())
NEEDS = needs_of(outline_of(PLAIN), input_tokens=1_000)


def test_a_pinned_session_keeps_its_model_until_the_call_gives_it_up() -> None:
    kept, excluded = admissible([CARD, OTHER], needs=NEEDS, pin="other")
    assert (kept, excluded) == ((OTHER,), {"able": "session_pinned: to other"})
    given_up = PolicyOverrides(pin_session=False)
    assert admissible([CARD, OTHER], needs=NEEDS, overrides=given_up, pin="other")[1] == {}


def test_a_pin_is_not_lifted_because_its_model_cannot_take_the_request() -> None:
    short = msgspec.structs.replace(OTHER, context_window=2_000)
    kept, excluded = admissible([CARD, short], needs=NEEDS, pin="other")
    assert kept == ()
    assert excluded["able"] == "session_pinned: to other"
    assert excluded["other"].startswith("context_window: needs ")
    gone = admissible([CARD], needs=NEEDS, pin="gone")
    assert gone == ((), {"able": "session_pinned: to gone"})


def test_a_lock_excludes_with_its_own_words() -> None:
    lock = Lock(kind="signed", detail="signed thinking, of acme", models=frozenset({"able"}))
    kept, excluded = admissible([CARD, OTHER], needs=NEEDS, lock=lock)
    assert (kept, excluded) == ((CARD,), {"other": "locked: signed thinking, of acme"})
    assert (
        exclusion(OTHER, outline=outline_of(PLAIN), input_tokens=10, lock=lock)
        == "locked: signed thinking, of acme"
    )


def test_beyond_its_effective_window_a_model_is_out_while_another_is_left() -> None:
    kept, excluded = admissible([CARD, OTHER], needs=NEEDS, windows={"able": 1_049})
    assert kept == (OTHER,)
    assert excluded == {"able": "effective_window: quality falls beyond 1049 tokens, needs 1050"}
    assert admissible([CARD, OTHER], needs=NEEDS, windows={"able": 1_050}) == ((CARD, OTHER), {})


def test_where_all_are_beyond_their_effective_windows_the_declared_ones_decide() -> None:
    windows = {"able": 500, "other": 900}
    short = msgspec.structs.replace(CARD, id="short", context_window=1_000)
    kept, excluded = admissible([CARD, OTHER, short], needs=NEEDS, windows=windows)
    assert kept == (CARD, OTHER)
    assert set(excluded) == {"short"}
    assert beyond_windows(kept, needs=NEEDS, windows=windows) == {
        "able": "effective_window: quality falls beyond 500 tokens, needs 1050",
        "other": "effective_window: quality falls beyond 900 tokens, needs 1050",
    }


def test_a_limit_never_falls_on_the_last_model_that_the_windows_left() -> None:
    dear = msgspec.structs.replace(CANDIDATE, model="other", expected_cost=1.0)
    kept, excluded = within_limits(
        [CARD, OTHER],
        needs=NEEDS,
        overrides=PolicyOverrides(max_cost_usd=0.5),
        candidates={"able": CANDIDATE, "other": dear},
        windows={"able": 500},
    )
    assert kept == (CARD,)
    assert set(excluded) == {"other"}


def test_the_expected_answer_has_to_fit_what_the_prompt_leaves() -> None:
    long = msgspec.structs.replace(CANDIDATE, output_tokens=12_000.0)
    assert reason(input_tokens=83_000, candidate=long) is None
    assert reason(input_tokens=85_000, candidate=CANDIDATE) is None
    assert reason(input_tokens=85_000, candidate=long) == (
        "context_window: expects 101250 of 100000 tokens, the answer included"
    )


def test_a_latency_that_nobody_knows_passes_a_limit() -> None:
    unknown = msgspec.structs.replace(CANDIDATE, tool_call_latency_ms=float("nan"))
    limit = PolicyOverrides(max_tool_call_latency_ms=1.0)
    assert reason(overrides=limit, candidate=unknown) is None
