import msgspec
from routers import ask

from router_model.locks import PROVIDER_STATE, SIGNED, lock_of
from router_model.types import Message, Part


def test_a_plain_conversation_is_free() -> None:
    talk = (Message("assistant", (Part("thinking", "hm"), Part("tool_call", "{}"))),)
    assert lock_of(ask()) is None
    assert lock_of(msgspec.structs.replace(ask(), messages=talk)) is None


def test_state_that_a_provider_keeps_ties_a_call_to_it() -> None:
    assert lock_of(ask(has_provider_state=True)) == PROVIDER_STATE


def test_signed_thinking_anywhere_in_the_prefix_ties_a_call() -> None:
    signed = Message("assistant", (Part("text", "so"), Part("thinking", "hm", is_signed=True)))
    later = Message("user", (Part("text", "go on"),))
    assert lock_of(ask(messages=(*ask().messages, signed, later))) == SIGNED
