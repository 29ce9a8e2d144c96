from itertools import permutations

import numpy as np
import pytest
from conversations import ask, tool, user
from log_samples import HashEncoder
from msgspec.structs import replace
from numpy.typing import NDArray
from routers import N_DIMENSIONS, encoder

from router_model.embedding import MATCH_NAMES, N_MATCH, embed
from router_model.encoder import MAX_TOKENS
from router_model.features import Context, ToolTexts, extract
from router_model.features.tools import MAX_TEXTS
from router_model.types import Message, Request, ToolSpec

ENCODER = encoder()
NEAR = 1e-3
"""Vectors and match values are float16."""

FIX = tool("fix_test", "Fix the test.", file={"type": "string", "description": "why"})
RENAME = tool("rename_file", "Rename a file.")
LIST = tool("list_all", "List all.")


def match(text: str, *tools: ToolSpec) -> dict[str, float]:
    embedding = embed(extract(ask(user(text), tools=tools)), ENCODER)
    return dict(zip(MATCH_NAMES, embedding[-N_MATCH:].tolist(), strict=True))


def cosine(first: str, second: str) -> float:
    return float(ENCODER.encode(first) @ ENCODER.encode(second))


def test_an_embedding_is_the_texts_vector_followed_by_the_match_values() -> None:
    embedding = embed(extract(ask(user("fix the test"), tools=(FIX, LIST))), ENCODER)
    assert embedding.shape == (N_DIMENSIONS + N_MATCH,)
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding[:N_DIMENSIONS], ENCODER.encode("fix the test"))


def test_match_values_are_cosines_of_the_text_and_what_tools_say() -> None:
    found = match("fix the test", RENAME, FIX, LIST)
    cosines = sorted(
        cosine("fix the test", text)
        for text in ("fix test Fix the test.", "rename file Rename a file.", "list all List all.")
    )
    assert found["match_best"] == pytest.approx(cosines[2], abs=NEAR)
    assert found["match_second"] == pytest.approx(cosines[1], abs=NEAR)
    assert found["match_mean"] == pytest.approx(sum(cosines) / 3, abs=NEAR)
    assert found["match_gap"] == pytest.approx(cosines[2] - cosines[1], abs=NEAR)
    assert found["match_best_name"] == pytest.approx(cosine("fix the test", "fix test"), abs=NEAR)
    assert found["match_best_full"] == pytest.approx(
        cosine("fix the test", "fix test Fix the test. file why"), abs=NEAR
    )


def test_a_single_tool_has_no_second_and_all_of_its_match_is_the_gap() -> None:
    found = match("fix the test", FIX)
    assert found["match_second"] == 0
    assert found["match_gap"] == found["match_best"] == found["match_mean"]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_matches_a_text_without_meaning(text: str) -> None:
    assert not embed(extract(ask(user(text), tools=(FIX,))), ENCODER).any()


def test_without_tools_there_is_nothing_to_compare_and_nothing_is_looked_up() -> None:
    class Refusing(HashEncoder):
        def encode_recurring(self, texts: tuple[str, ...]) -> NDArray[np.float64]:
            raise AssertionError(texts)

    embedding = embed(extract(ask(user("fix the test"))), Refusing())
    assert embedding[:-N_MATCH].any()
    assert not embedding[-N_MATCH:].any()


def test_the_order_of_the_tools_does_not_change_a_bit() -> None:
    tools = (FIX, RENAME, LIST, tool("fix_all", "Fix the test."), ToolSpec("web", kind="web"))
    rows = {
        embed(extract(ask(user("fix the list"), tools=order)), ENCODER).tobytes()
        for order in permutations(tools)
    }
    assert len(rows) == 1


def test_a_match_survives_the_float16_of_the_log_bit_for_bit() -> None:
    embedding = embed(extract(ask(user("fix a file"), tools=(FIX, RENAME, LIST))), ENCODER)
    assert np.array_equal(embedding.astype(np.float16).astype(np.float32), embedding)


def test_a_fresh_encoder_and_one_that_remembers_agree() -> None:
    context = extract(ask(user("rename the file"), tools=(FIX, RENAME)))
    warm = [embed(context, ENCODER).tobytes() for _ in range(3)]
    assert {*warm, embed(context, encoder()).tobytes()} == {warm[0]}


def test_tools_beyond_the_bound_are_not_compared() -> None:
    shown = tuple(tool(f"list_{i}", "List all.") for i in range(MAX_TEXTS))
    assert match("fix the test", *shown, FIX) == match("fix the test", *shown)


def test_what_tools_say_of_themselves_is_bounded() -> None:
    wordy = tool(
        "x" * 5_000, "fix " * 5_000, **{f"p{i}": {"description": "y" * 999} for i in range(99)}
    )
    texts = extract(ask(user("Go."), tools=(wordy,) * 100)).tool_texts
    assert {len(group) for group in texts} == {MAX_TEXTS}
    assert max(len(text) for group in texts for text in group) <= 400


def test_a_tool_is_told_at_three_lengths() -> None:
    texts = extract(ask(user("Go."), tools=(FIX, RENAME))).tool_texts
    assert texts == ToolTexts(
        names=("fix test", "rename file"),
        described=("fix test Fix the test.", "rename file Rename a file."),
        full=("fix test Fix the test. file why", "rename file Rename a file."),
    )


def test_the_texts_of_a_repeated_tool_set_are_the_same_objects() -> None:
    first, second = (
        extract(ask(user(text), tools=(tool("find_it", "Finds."),))).tool_texts
        for text in ("one", "two")
    )
    assert first is second


def test_texts_that_come_again_are_looked_up_once() -> None:
    fresh = encoder()
    texts = ("fix the test", "", "list all")
    vectors = fresh.encode_recurring(texts)
    assert fresh.encode_recurring(texts) is vectors
    assert not vectors.flags.writeable
    np.testing.assert_array_equal(vectors, np.stack([fresh.encode(text) for text in texts]))


def test_recurring_texts_are_cut_at_the_same_token() -> None:
    text = "a " * MAX_TOKENS
    longer, exact = ENCODER.encode_recurring((text + "b c d", text))
    np.testing.assert_array_equal(longer, exact)


def test_what_a_user_wrote_is_not_remembered() -> None:
    fresh = encoder()
    for text in ("fix the test", "rename"):
        fresh.encode(text)
    assert fresh._remembered.cache_info().currsize == 0
    assert fresh._remembered_ids.cache_info().currsize == 0


def test_a_context_made_without_tools_texts_embeds_its_text_only() -> None:
    context: Context = replace(
        extract(Request(messages=(Message("user", ()),))), text="fix", tool_texts=ToolTexts()
    )
    assert not embed(context, ENCODER)[-N_MATCH:].any()
