"""A conversation keeps its fingerprint however its client writes it down; others have others."""

from copy import deepcopy

from dialects import RENDERERS, Call, Json, Talk, Turn, encoded
from hypothesis import given
from hypothesis import strategies as st

from router_model import formats
from router_model.outline import outline_of
from router_model.session import fingerprint
from router_model.types import Caller, WireFormat

words = st.from_regex(r"[A-Za-z][A-Za-z0-9 ,.'\n-]{0,60}[a-z]", fullmatch=True)
dialects = st.sampled_from(list(WireFormat))
TOOLS = {"read_file": {"type": "object"}, "run": {"type": "object"}}
REMINDER = "<system-reminder>\nToday is {day}.\n</system-reminder>\n"


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    turns = []
    for number, said in enumerate(draw(st.lists(words, min_size=2, max_size=4))):
        answer = draw(st.text("abc \n", max_size=40))
        call = Call(f"call_{number}", "run", {"command": said}, answer)
        turns.append(Turn(said, (("", (call,)), (draw(words), ()))))
    return Talk(turns=tuple(turns), system=draw(words), tools=TOOLS)


def part(talk: Talk, n_turns: int) -> Talk:
    return Talk(turns=talk.turns[:n_turns], system=talk.system, tools=talk.tools)


def named(body: Json, dialect: WireFormat, caller: Caller | None = None) -> str:
    return fingerprint(
        outline_of(formats.parse(encoded(body), wire_format=dialect)), caller or Caller()
    )


def squeezed(text: str) -> str:
    return "".join(text.split())


def rewritten(body: Json, *, marks: int, lists: bool, day: str | None) -> Json:
    """The Messages or Chat body as another turn of the same client might write it."""
    body = deepcopy(body)
    for number, message in enumerate(body["messages"]):
        if message["role"] != "user" or not message.get("content"):
            continue
        content = message["content"]
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if day and blocks[-1]["type"] == "text":
            blocks.insert(len(blocks) - 1, {"type": "text", "text": REMINDER.format(day=day)})
        if number % 3 == marks:
            blocks[-1]["cache_control"] = {"type": "ephemeral"}
        alone = blocks[0].get("text") if len(blocks) == 1 else None
        message["content"] = blocks if lists or alone is None else alone
    return body


@given(talks(), dialects)
def test_a_conversation_keeps_its_name_as_it_grows(talk: Talk, dialect: WireFormat) -> None:
    grown = {
        named(RENDERERS[dialect](part(talk, n)), dialect) for n in range(1, len(talk.turns) + 1)
    }
    assert len(grown) == 1


@given(talks())
def test_a_conversation_has_one_name_in_all_dialects(talk: Talk) -> None:
    assert len({named(render(talk), dialect) for dialect, render in RENDERERS.items()}) == 1


@given(
    talks(),
    st.sampled_from([WireFormat.OPENAI_CHAT, WireFormat.ANTHROPIC_MESSAGES]),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([None, "Monday", "Tuesday"]),
)
def test_markers_lists_and_reminders_do_not_change_the_name(
    talk: Talk, dialect: WireFormat, marks: int, lists: bool, day: str | None
) -> None:
    body = RENDERERS[dialect](talk)
    assert named(rewritten(body, marks=marks, lists=lists, day=day), dialect) == named(
        body, dialect
    )


@given(talks(), words, dialects)
def test_other_first_words_are_another_conversation(
    talk: Talk, other: str, dialect: WireFormat
) -> None:
    opened = Turn(other, talk.turns[0].steps)
    elsewhere = Talk(turns=(opened, *talk.turns[1:]), system=talk.system, tools=talk.tools)
    is_same = squeezed(other) == squeezed(talk.turns[0].user)
    names = {named(RENDERERS[dialect](one), dialect) for one in (talk, elsewhere)}
    assert len(names) == (1 if is_same else 2)


@given(talks(), dialects, words, words)
def test_users_of_the_same_words_are_apart(
    talk: Talk, dialect: WireFormat, one: str, two: str
) -> None:
    body = RENDERERS[dialect](talk)
    names = {named(body, dialect, Caller(user=user)) for user in (one, two)}
    assert len(names) == len({one, two})
