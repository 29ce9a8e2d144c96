"""Laws of the digest: what a client packs is what the router would have computed."""

import msgspec
from dialects import RENDERERS, Talk, rendered
from drawn_talks import talks
from hypothesis import given
from hypothesis import strategies as st
from routers import router

from router_model import formats
from router_model.digest import pack, read_packed, unpack
from router_model.outline import Outline, outline_of
from router_model.types import WireFormat

ROUTER = router()
dialects = st.sampled_from(list(RENDERERS))


@given(talks(), dialects)
def test_a_packed_digest_is_the_routers_own_bit_for_bit(talk: Talk, dialect: WireFormat) -> None:
    request = formats.parse(rendered(talk, dialect), wire_format=dialect)
    sent = msgspec.json.encode(pack(request, encoder=ROUTER.encoder, wire_format=dialect))
    encoder, own = ROUTER.encoder, ROUTER.digest(request)
    digest = unpack(read_packed(sent), encoder=encoder.hash, dimension=encoder.dimension)
    assert digest.outline == own.outline
    assert digest.values.tobytes() == own.values.tobytes()
    assert digest.embedding.tobytes() == own.embedding.tobytes()
    assert (digest.step_type, digest.input_tokens, digest.family) == (
        own.step_type,
        own.input_tokens,
        own.family,
    )
    assert ROUTER.decide(digest, decision_id="d") == ROUTER.decide(request, decision_id="d")


@given(talks())
def test_the_outline_of_a_conversation_is_much_the_same_in_every_dialect(talk: Talk) -> None:
    """What a dialect can't say apart (ids, strictness, who keeps state): see `formats`."""
    told = ("opening", "tools", "may_call_tools", "n_assistant_messages", "is_in_tool_loop")
    outlines = [
        outline_of(formats.parse(rendered(talk, each), wire_format=each)) for each in RENDERERS
    ]
    assert len({tuple(getattr(one, name) for name in told) for one in outlines}) == 1


@given(talks(), dialects)
def test_an_outline_holds_no_words_and_is_short(talk: Talk, dialect: WireFormat) -> None:
    outline = outline_of(formats.parse(rendered(talk, dialect), wire_format=dialect))
    text = msgspec.json.encode(outline)
    assert msgspec.json.decode(text, type=Outline) == outline
    assert len(text) < 600
