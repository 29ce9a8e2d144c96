import pytest
from conversations import SHELL_TOOLS, ask, bash, user

from router_model.tokens import (
    FULL_CHARS,
    IMAGE_TOKENS,
    estimate_many,
    estimate_request_tokens,
    estimate_tokens,
)
from router_model.types import Message, Part

PROSE = (
    "The gateway asks for a decision before each call, and the answer has to come quickly. "
    "Later the outcome is reported, so that the next decision can be a better one. "
)
CODE = "def total(rows):\n    result = 0\n    for row in rows:\n        result += row['n']\n"
JSON = '{"name":"calc","version":2,"files":["a.py","b.py"],"ok":true}\n'
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n"
CHINESE = "网关在每次调用之前请求一个决定。"

# Counts of the o200k vocabulary, taken once with a real tokenizer.
COUNTS = [(PROSE, 36), (CODE, 23), (JSON, 22), (HEX, 44), (CHINESE, 11)]


@pytest.mark.parametrize(("text", "count"), COUNTS)
@pytest.mark.parametrize("times", [1, 30])
def test_an_estimate_is_close_to_the_count_of_a_tokenizer(
    text: str, count: int, times: int
) -> None:
    assert estimate_tokens(text * times) == pytest.approx(count * times, rel=0.25)


def test_the_empty_text_has_no_tokens() -> None:
    assert estimate_many(()) == []
    assert estimate_many(("", "a", "")) == [0.0, estimate_tokens("a"), 0.0]


def test_many_texts_give_the_same_numbers_as_one_by_one() -> None:
    texts = ["", PROSE, CODE * 100, HEX, CHINESE * 500, "a", PROSE * 300] * 40
    assert estimate_many(texts) == [estimate_tokens(text) for text in texts]


@pytest.mark.parametrize("text", [PROSE, CODE, JSON, HEX, CHINESE])
def test_sampling_a_long_text_hardly_changes_its_estimate(text: str) -> None:
    whole = text * (FULL_CHARS // len(text))
    n = 200
    assert estimate_tokens(whole * n) == pytest.approx(estimate_tokens(whole) * n, rel=0.08)


def test_runs_of_spaces_cost_little() -> None:
    assert estimate_tokens(" " * 400) < 20


def test_text_that_is_no_valid_unicode_is_estimated_all_the_same() -> None:
    assert estimate_tokens("a\ud800b" * 100) > 0


def test_a_request_costs_its_parts_and_its_framing() -> None:
    bare = estimate_request_tokens(ask(user(PROSE)))
    assert bare > estimate_tokens(PROSE)
    assert estimate_request_tokens(ask(user(PROSE), tools=SHELL_TOOLS)) > bare + 40
    longer = estimate_request_tokens(ask(user(PROSE), *bash(("ls", CODE))))
    assert longer > bare + estimate_tokens(CODE)
    with_image = ask(Message("user", (Part("text", PROSE), Part("image"))))
    assert estimate_request_tokens(with_image) == bare + IMAGE_TOKENS
