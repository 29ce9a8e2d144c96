from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_model.errors import InvalidRequestError
from router_model.types import Usage
from router_model.usage import usage_of


def test_openai_chat_counts_cached_tokens_in_the_prompt_and_reasoning_in_the_completion() -> None:
    usage = usage_of(
        {
            "prompt_tokens": 2_006,
            "completion_tokens": 300,
            "total_tokens": 2_306,
            "prompt_tokens_details": {"cached_tokens": 1_920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 256},
        }
    )
    assert usage == Usage(
        input_tokens=2_006, cached_tokens=1_920, output_tokens=300, reasoning_tokens=256
    )


def test_openai_responses_say_the_same_with_other_names() -> None:
    usage = usage_of(
        {
            "input_tokens": 36_000,
            "input_tokens_details": {"cached_tokens": 35_200, "cache_write_tokens": 512},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 0},
        }
    )
    assert usage == Usage(
        input_tokens=36_000, cached_tokens=35_200, cache_write_tokens=512, output_tokens=87
    )


def test_anthropic_leaves_cached_and_written_tokens_out_of_the_input() -> None:
    usage = usage_of(
        {
            "input_tokens": 50,
            "cache_read_input_tokens": 100_000,
            "cache_creation_input_tokens": 248,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 148,
                "ephemeral_1h_input_tokens": 100,
            },
            "output_tokens": 503,
            "service_tier": "standard",
        }
    )
    assert usage == Usage(
        input_tokens=100_298,
        cached_tokens=100_000,
        cache_write_tokens=248,
        cache_write_1h_tokens=100,
        output_tokens=503,
    )


def test_anthropic_without_a_total_of_writes_adds_the_lifetimes() -> None:
    usage = usage_of(
        {"input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 9}, "output_tokens": 2}
    )
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (10, 9, 9)


@pytest.mark.parametrize("is_camel", [True, False])
def test_gemini_thoughts_and_tool_prompts_come_on_top(is_camel: bool) -> None:
    camel = {
        "promptTokenCount": 6_131,
        "cachedContentTokenCount": 4_058,
        "candidatesTokenCount": 27,
        "thoughtsTokenCount": 100,
        "toolUsePromptTokenCount": 40,
        "totalTokenCount": 6_298,
    }
    snake = {
        "prompt_token_count": 6_131,
        "cached_content_token_count": 4_058,
        "candidates_token_count": 27,
        "thoughts_token_count": 100,
        "tool_use_prompt_token_count": 40,
    }
    assert usage_of(camel if is_camel else snake) == Usage(
        input_tokens=6_171, cached_tokens=4_058, output_tokens=127, reasoning_tokens=100
    )


def test_xai_reasoning_outside_the_completion_is_added_to_the_output() -> None:
    usage = usage_of(
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94},
        }
    )
    assert usage == Usage(input_tokens=32, cached_tokens=6, output_tokens=103, reasoning_tokens=94)


@pytest.mark.parametrize(
    ("said", "cached"),
    [
        ({"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}, 64),
        ({"cached_tokens": 50}, 50),
        ({"prompt_tokens_details": None, "cache_read_input_tokens": 7}, 7),
    ],
)
def test_other_spellings_of_the_cached_tokens_are_read(said: dict[str, Any], cached: int) -> None:
    usage = usage_of({"prompt_tokens": 100, "completion_tokens": 1, **said})
    assert (usage.input_tokens, usage.cached_tokens) == (100, cached)


def test_plain_totals_and_nulls_are_enough() -> None:
    said = {"input_tokens": 5, "output_tokens": None, "cache_read_input_tokens": None}
    assert usage_of(said) == Usage(input_tokens=5)
    assert usage_of({"input_tokens": 5.0}) == Usage(input_tokens=5)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"prompt_tokens": -1}, r"usage\.prompt_tokens: got -1"),
        ({"prompt_tokens": 1.5}, r"usage\.prompt_tokens: got 1\.5"),
        ({"prompt_tokens": float("nan")}, r"usage\.prompt_tokens: got nan"),
        ({"prompt_tokens": float("inf")}, r"usage\.prompt_tokens: got inf"),
        ({"prompt_tokens": 10**13}, r"usage\.prompt_tokens"),
        ({"prompt_tokens": True}, r"usage\.prompt_tokens: got True"),
        ({"prompt_tokens": "12"}, r"usage\.prompt_tokens: got '12'"),
        ({"input_tokens": 1, "input_tokens_details": 3}, r"usage\.input_tokens_details: got 3"),
        (
            {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 11}},
            r"usage\.prompt_tokens_details\.cached_tokens: got 11, expected no more than prompt_t",
        ),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            r"completion_tokens_details\.reasoning_tokens: got 3",
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 6},
            },
            r"cache_creation\.ephemeral_1h_input_tokens: got 6",
        ),
        ({"promptTokenCount": 1, "cachedContentTokenCount": 2}, "cachedContentTokenCount: got 2"),
        ({"tokens": 3}, r"usage: got \['tokens'\], expected an object with prompt_tokens"),
    ],
)
def test_impossible_numbers_are_refused_by_name(said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError, match=field):
        usage_of(said)


NAMES = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "cached_tokens"),
    *("prompt_cache_hit_tokens", "promptTokenCount", "cachedContentTokenCount"),
    *("candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount"),
)
DETAILS = ("prompt_tokens_details", "completion_tokens_details", "input_tokens_details")
PARTS = ("cached_tokens", "reasoning_tokens", "cache_write_tokens", "ephemeral_1h_input_tokens")
COUNTS = st.one_of(st.none(), st.integers(-2, 50), st.floats(), st.booleans(), st.text(max_size=2))


@given(
    flat=st.dictionaries(st.sampled_from(NAMES), COUNTS),
    nested=st.dictionaries(
        st.sampled_from((*DETAILS, "cache_creation")),
        st.one_of(st.dictionaries(st.sampled_from(PARTS), COUNTS), COUNTS),
    ),
)
def test_whatever_is_reported_is_consistent_or_refused(
    flat: dict[str, Any], nested: dict[str, Any]
) -> None:
    try:
        usage = usage_of({**flat, **nested})
    except InvalidRequestError:
        return
    assert 0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert 0 <= usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens
