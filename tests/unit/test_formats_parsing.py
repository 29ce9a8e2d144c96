import json
from typing import Any

import pytest

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.types import Request, WireFormat

TURN = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}
# A negative limit once made costs negative, and so the dearest model the cheapest.
LIMITED: list[dict[str, Any]] = [
    {"messages": [TURN], "max_tokens": -100_000},
    {"messages": [TURN], "max_completion_tokens": 0},
    {"input": "Hi", "max_output_tokens": -1},
    {"messages": [TURN], "system": "s", "max_tokens": -5},
    {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": -5}},
]


@pytest.mark.parametrize("body", LIMITED)
def test_an_output_limit_below_one_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=r"max_output_tokens: got -?\d+, expected .* 1"):
        formats.parse(json.dumps(body).encode())


# A temperature beyond float32 once became infinite, an integer beyond every float failed in the
# features, one beyond 64 bits in the log.
HUGE: list[tuple[str, dict[str, Any]]] = [
    ("max_output_tokens", {"messages": [TURN], "max_tokens": 10**400}),
    ("max_output_tokens", {"input": "Hi", "max_output_tokens": 2**53}),
    ("max_output_tokens", {"messages": [TURN], "system": "s", "max_tokens": 2**64}),
    ("seed", {"messages": [TURN], "seed": 10**30}),
    ("n", {"messages": [TURN], "n": 10**30}),
    ("n", {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"candidateCount": 0}}),
    ("temperature", {"messages": [TURN], "temperature": 1e308}),
    ("top_p", {"input": "Hi", "top_p": -1e300}),
    ("seed", {"messages": [TURN], "seed": -(10**30)}),
    (
        "thinking_budget",
        {
            "messages": [TURN],
            "system": "s",
            "max_tokens": 9,
            "thinking": {"type": "enabled", "budget_tokens": 10**400},
        },
    ),
]


@pytest.mark.parametrize(("name", "body"), HUGE)
def test_a_number_that_no_column_holds_is_refused_by_name(name: str, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{name}: got .*, expected a number from"):
        formats.parse(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("n", "body"),
    [
        (3, {"messages": [TURN], "n": 3}),
        (1, {"messages": [TURN], "n": None}),
        (1, {"input": "Hi"}),
        (4, {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"candidateCount": 4}}),
        (
            2,
            {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"candidate_count": 2}},
        ),
    ],
)
def test_the_number_of_answers_is_that_of_the_dialect_or_one(n: int, body: dict[str, Any]) -> None:
    assert formats.parse(json.dumps(body).encode()).n_answers == n


def test_a_seed_of_64_bits_is_kept() -> None:
    for seed in (2**64 - 1, -(2**63)):
        body = json.dumps({"messages": [TURN], "seed": seed}).encode()
        assert formats.parse(body).seed == seed


@pytest.mark.parametrize("text", [r"cut \ud83d", r"cut \ud83d more", r"\ude00"])
def test_half_an_emoji_is_no_reason_to_refuse_a_body(text: str) -> None:
    # Detecting the dialect once refused what parsing would have mended.
    body = f'{{"messages": [{{"role": "user", "content": "{text}"}}]}}'.encode()
    assert formats.detect(body) is WireFormat.OPENAI_CHAT
    assert "\ufffd" in formats.parse(body).last_user_text


def test_white_space_between_json_tokens_does_not_change_a_request() -> None:
    body = {"messages": [TURN], "tools": [TOOL], "response_format": {"type": "json_object"}}
    spellings: list[Request] = [
        formats.parse(json.dumps(body, indent=indent, separators=separators).encode())
        for indent, separators in ((None, (",", ":")), (None, None), (4, None))
    ]
    assert spellings[0] == spellings[1] == spellings[2]
