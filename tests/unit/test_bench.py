import json

import pytest

from router_bench.bodies import MARK, conversation
from router_bench.cli import SIZES, row_of, table
from router_model.formats import parse


@pytest.mark.parametrize("size", SIZES.values())
def test_a_body_has_its_size_and_is_a_conversation_with_tools(size: int) -> None:
    body = conversation(size, seed=1)
    assert len(body) == pytest.approx(size, rel=0.1)
    request = parse(body)
    assert request.tools
    assert body.count(MARK) == 1
    assert MARK.decode() in request.messages[0].parts[0].text


def test_bodies_are_drawn_by_their_seed() -> None:
    assert conversation(9_000, seed=1) == conversation(9_000, seed=1)
    assert conversation(9_000, seed=1) != conversation(9_000, seed=2)


def test_every_tool_result_answers_a_call() -> None:
    messages = json.loads(conversation(60_000, seed=3))["messages"]
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert calls == [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert len(set(calls)) == len(calls) > 3


def test_a_row_counts_every_round_and_the_table_compares_with_the_floor_of_its_size() -> None:
    floor = row_of("4 KB", "floor", [[100.0] * 50, [200.0] * 51], 0)
    service = row_of("4 KB", "service", [[500.0] * 99, [900.0]], 25)
    assert (floor.n_calls, floor.p50_us, floor.p50_us_by_round) == (101, 200.0, [100.0, 200.0])
    assert service.faults_per_call == 0.25
    last = table([floor, service]).splitlines()[-1].split()
    assert last[:5] == ["4", "KB", "service", "500", "504"]
    assert last[5] == "2.50"
