"""Laws of the embedding, whatever the text and the tools."""

from collections import Counter
from random import Random

import msgspec
import numpy as np
from conversations import user
from hypothesis import given
from hypothesis import strategies as st
from routers import N_DIMENSIONS, WORDS, encoder

from router_data.contexts import table_contexts
from router_data.request_table import TableRequest
from router_data.rows import decode_embeddings, encode_embedding
from router_model import formats
from router_model.embedding import MATCH_NAMES, N_MATCH, embed
from router_model.features import extract
from router_model.features.tools import MAX_TEXTS
from router_model.types import Request, ToolSpec

ENCODER = encoder()
texts = st.lists(st.sampled_from((*WORDS, "x", "ü", "\n", ".")), max_size=12).map(" ".join)
tools = st.builds(
    ToolSpec,
    name=st.sampled_from(["fix_test", "renameFile", "list_all", "Why?", ""]),
    description=texts,
    schema=st.sampled_from(
        [b"", b"{", b'{"properties": {"file": {"description": "the file"}}, "required": ["file"]}']
    ),
)
tool_sets = st.lists(tools, max_size=6).map(tuple)


def row(text: str, offered: tuple[ToolSpec, ...]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return embed(extract(Request(messages=(user(text),), tools=offered)), ENCODER)


@given(texts, tool_sets)
def test_values_are_cosines_and_survive_the_log(text: str, offered: tuple[ToolSpec, ...]) -> None:
    found = row(text, offered)
    assert found.shape == (N_DIMENSIONS + N_MATCH,)
    match = dict(zip(MATCH_NAMES, found[-N_MATCH:].tolist(), strict=True))
    gap = match.pop("match_gap")
    assert all(abs(value) <= 1.01 for value in match.values())
    assert match["match_best"] >= match["match_mean"] - 1e-3
    assert gap >= 0 or len(offered) == 1
    np.testing.assert_array_equal(decode_embeddings([encode_embedding(found)])[0], found)


@given(texts, tool_sets, st.randoms(use_true_random=False))
def test_the_order_of_tools_is_irrelevant(
    text: str, offered: tuple[ToolSpec, ...], random: Random
) -> None:
    shuffled = random.sample(offered, len(offered))
    assert row(text, tuple(shuffled)).tobytes() == row(text, offered).tobytes()


@given(texts, st.lists(tools, min_size=1, max_size=6).map(tuple))
def test_a_tool_offered_twice_is_its_own_second(text: str, offered: tuple[ToolSpec, ...]) -> None:
    twice = row(text, offered * 2)[-N_MATCH:]
    assert twice[0] == twice[1]
    assert twice[3] == 0
    assert twice[0] == row(text, offered)[-N_MATCH]


@given(texts, tools, st.integers(1, 40))
def test_more_of_the_same_beyond_the_bound_change_nothing(
    text: str, offered: ToolSpec, n: int
) -> None:
    full = row(text, (offered,) * MAX_TEXTS)
    assert row(text, (offered,) * (MAX_TEXTS + n)).tobytes() == full.tobytes()


@given(texts, st.lists(tools.filter(lambda tool: tool.schema != b"{"), max_size=4).map(tuple))
def test_an_import_gives_the_same_bits_as_the_service(
    text: str, offered: tuple[ToolSpec, ...]
) -> None:
    body = msgspec.json.encode(
        {
            "messages": [{"role": "user", "content": text}],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": msgspec.Raw(tool.schema or b"{}"),
                    },
                }
                for tool in offered
            ],
        }
    )
    online = extract(formats.parse(body))
    request = TableRequest("r", "d", "t", "g", None, body, "hash", has_content=True)
    (batch,) = table_contexts([request], encoder=encoder(), problems=Counter())
    assert batch is not None
    assert batch.features.tobytes() == online.values.tobytes()
    assert batch.embedding.tobytes() == embed(online, ENCODER).tobytes()
