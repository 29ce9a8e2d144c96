import msgspec
import numpy as np
import pytest

from router_data.agent_bodies import SCALE
from router_data.agents import simulate_agents
from router_data.simulator import World
from router_model import formats
from router_model.features import SCHEMA, Context, extract
from router_model.types import StepType, WireFormat


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_agents(80, seed=11)


@pytest.fixture(scope="module")
def contexts(world: World) -> list[Context]:
    bodies = (world.chat_body(index) for index in range(world.n_requests))
    return [extract(formats.parse(body, wire_format=WireFormat.OPENAI_CHAT)) for body in bodies]


def column(contexts: list[Context], name: str) -> np.ndarray:
    return np.array([context.values[SCHEMA.index(name)] for context in contexts])


def test_the_router_recognises_every_step(world: World, contexts: list[Context]) -> None:
    assert [str(context.step_type) for context in contexts] == world.step_type.tolist()
    assert set(world.step_type) >= {
        StepType.MAIN,
        StepType.TOOL_RESULT,
        StepType.TITLE,
        StepType.SUMMARY,
        StepType.COMMIT_MESSAGE,
        StepType.COMPACTION,
    }


def test_the_router_sees_failures_and_loops(world: World, contexts: list[Context]) -> None:
    assert world.agents is not None
    calls = world.agents.calls
    after_tool = world.step_type == "tool_result"
    assert calls.is_repeat.any()
    seen = column(contexts, "is_last_error")[after_tool]
    np.testing.assert_array_equal(seen, calls.is_error[after_tool])
    in_a_row = column(contexts, "n_errors_in_a_row")[after_tool]
    np.testing.assert_array_equal(in_a_row, calls.n_errors[after_tool])
    repeated = column(contexts, "is_last_call_repeated")[after_tool]
    assert (repeated[calls.is_repeat[after_tool]] == 1).all()
    # Two calls may happen to be the same: there are few templates.
    assert (repeated != calls.is_repeat[after_tool]).mean() < 0.02


def test_bodies_stay_small_and_grow_with_the_prefix(world: World, contexts: list[Context]) -> None:
    sizes = np.array([len(world.chat_body(index)) for index in range(world.n_requests)])
    assert sizes.max() <= 60_000
    assert world.agents is not None
    in_conversation = world.agents.calls.chain_start >= 0
    estimated = np.array([context.input_tokens for context in contexts])
    scale = world.input_tokens[in_conversation] / estimated[in_conversation]
    np.testing.assert_allclose(scale, SCALE, rtol=0.3)


def test_each_call_repeats_the_prefix_of_the_one_before(world: World) -> None:
    assert world.agents is not None
    previous = world.agents.calls.previous
    for index in np.flatnonzero(previous >= 0)[:80].tolist():
        body = msgspec.json.decode(world.chat_body(index))
        before = msgspec.json.decode(world.chat_body(int(previous[index])))
        assert body["messages"][: len(before["messages"])] == before["messages"]
        assert body["tools"] == before["tools"]


def test_a_task_that_looks_harder_is_worded_otherwise(world: World) -> None:
    assert world.agents is not None
    hints = world.agents.hint
    titles = np.flatnonzero(world.step_type == "title")
    length = {int(hints[i]): len(world.chat_body(i)) for i in titles.tolist()}
    assert length[4] > length[3] > length[0]


def test_tool_calls_and_results_are_paired(world: World) -> None:
    index = int(np.flatnonzero(world.step_type == "tool_result")[-1])
    messages = msgspec.json.decode(world.chat_body(index))["messages"]
    asked = [call["id"] for m in messages for call in m.get("tool_calls") or ()]
    answered = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert asked == answered
    assert len(set(asked)) == len(asked)
