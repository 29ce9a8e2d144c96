"""Conversations that Hypothesis draws."""

from dialects import Call, Talk, Turn
from hypothesis import strategies as st

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
said = words.filter(bool)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | words
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, json_values, max_size=3)


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    """Conversations in which every tool call has an answer and ids are unique."""
    n_calls = 0
    turns = []
    for user in draw(st.lists(said, min_size=1, max_size=3)):
        steps = []
        for text in draw(st.lists(words, max_size=3)):
            drawn = draw(st.lists(st.tuples(names, objects, words), max_size=2))
            calls = [Call(f"call_{n_calls + i}", *call) for i, call in enumerate(drawn)]
            n_calls += len(calls)
            if text or calls:
                steps.append((text, tuple(calls)))
        turns.append(Turn(user, tuple(steps)))
    return Talk(
        turns=tuple(turns),
        system=draw(words),
        tools=draw(st.dictionaries(names, objects.filter(bool), max_size=3)),
        tool_choice=draw(st.sampled_from(["auto", "none", "required"])),
        schema=draw(st.none() | st.just({"type": "object"})),
        temperature=draw(st.none() | st.floats(0.1, 2)),
        max_tokens=draw(st.none() | st.integers(1, 10**6)),
    )
