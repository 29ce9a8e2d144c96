"""Reads a call: from its body, or from the features that its caller made of it.

Whichever it was, everything afterwards reads the same digest.
"""

from msgspec import Struct, structs

from router_model import formats
from router_model.digest import Digest, Packed, digest_of, read_packed, unpack
from router_model.errors import BodyNeededError
from router_model.features import Context
from router_model.outline import Outline, outline_of, request_hash
from router_model.router import Router
from router_model.scoring import NO_VECTOR
from router_model.types import Request, WireFormat
from router_serving.call import Call
from router_serving.envelope import BYTE_ORDER_MARK

Known = Context | Digest
"""What is known once the features are: of a body its context, which has no embedding yet."""


class Reading(Struct, frozen=True):
    """One call as it was read, before its features are known."""

    outline: Outline
    wire_format: WireFormat
    source: Request | Packed

    def content_hash(self) -> str:
        """The same for the same content, whichever way it came."""
        source = self.source
        return request_hash(source) if isinstance(source, Request) else source.request_hash


def read(call: Call) -> Reading:
    """What a call asks; raises InvalidRequestError where its body can't be understood."""
    if call.is_packed:
        packed = read_packed(call.body)
        return Reading(packed.outline, packed.format, packed)
    wire_format = wire_format_of(call)
    request = formats.parse(call.body, wire_format=wire_format, path=call.path)
    return Reading(outline_of(request), wire_format, request)


def known_of(
    reading: Reading, router: Router, *, other: Router | None, is_text_logged: bool
) -> Known:
    """The features of a call that `router` decides, and `other` too where that is set.

    Raises BodyNeededError where features alone are not enough.
    """
    source = reading.source
    if isinstance(source, Request):
        return router.context(source)
    if is_text_logged:
        raise BodyNeededError("features", "a digest", "the text that this tenant's log keeps")
    if other is not None and other.encoder.hash != source.encoder:
        raise BodyNeededError("features.encoder", source.encoder, other.encoder.hash)
    encoder = router.encoder
    return unpack(source, encoder=encoder.hash, dimension=encoder.dimension)


def digest_for(known: Known, outline: Outline, router: Router, *, skip: str) -> Digest:
    """What `router` decides by; without an embedding where `skip` says why none is needed."""
    if isinstance(known, Context):
        return digest_of(outline, known, router.embed(known, skip=skip))
    return structs.replace(known, embedding=NO_VECTOR) if skip else known


def text_of(known: Known) -> str | None:
    """The bounded text of a call, None where only features came."""
    return known.text if isinstance(known, Context) else None


def wire_format_of(call: Call) -> WireFormat:
    """The dialect of a call: as named, else as its path says, else as its body looks."""
    named = call.wire_format or (formats.format_of_path(call.path) if call.path else None)
    return named or formats.detect(call.body.removeprefix(BYTE_ORDER_MARK))
