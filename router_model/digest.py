"""All that a decision reads of a request: its features, its embedding, its outline.

Made from the request, or received from a caller that made it from the request itself. A packed
digest names the version of its form, the schema of its features and the encoder of its embedding:
one that was made by others can't be used, and the caller is asked for the body.
"""

from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from router_model.embedding import N_MATCH, embed
from router_model.encoder import StaticEncoder
from router_model.errors import BodyNeededError, InvalidRequestError
from router_model.features import SCHEMA, Context, extract
from router_model.formats import jsontext
from router_model.formats.parsing import MAX_INTEGER
from router_model.outline import Outline, outline_of, request_hash
from router_model.types import Request, StepType, WireFormat
from router_model.vectors import (
    EMBEDDING,
    FEATURES,
    encode_embedding,
    encode_features,
    read_vector,
)

VERSION: Final = 1
"""Of the packed form and of what an outline says; raised when either changes."""
# float16 keeps 11 bits: a vector of length 1 may come out this much longer.
_LONGEST: Final = 1.01
_FIRST_STEP: Final = SCHEMA.index(f"is_step_{next(iter(StepType))}")
_STEPS: Final = slice(_FIRST_STEP, _FIRST_STEP + len(StepType))
_FLAGS: Final = np.array([unit == "flag" for unit in SCHEMA.units])
_TOTAL_TOKENS: Final = SCHEMA.index("total_tokens")
# Of the float32 that the feature is kept in.
_ROUNDING: Final = 1e-6

Vector = NDArray[np.float32]
_Hex = Annotated[str, Meta(pattern="^[0-9a-f]{1,64}$")]


class Digest(Struct, frozen=True, kw_only=True):
    """What is read of one call; `family` is the guessed client, "" if unknown.

    `values` are in the order of the feature schema. The `embedding` is empty where nothing is to
    be predicted. `input_tokens` is an estimate that is the same for every model.
    """

    outline: Outline
    values: Vector
    embedding: Vector
    step_type: StepType
    input_tokens: int
    family: str = ""


class Packed(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A digest as it travels, about 2 kB of JSON; `encoder` made the embedding.

    `format` is the dialect that the request came in, `request_hash` that of its content.
    """

    version: int
    schema: _Hex
    encoder: _Hex
    format: WireFormat
    request_hash: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    values: str
    embedding: str
    input_tokens: Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
    family: Annotated[str, Meta(pattern="^[a-z0-9-]{0,32}$")] = ""
    outline: Outline


class _Made(Struct, frozen=True):
    """By what a digest was made; its other members are read once that is known to fit."""

    version: int
    schema: str
    encoder: str


_READ_MADE: Final = msgspec.json.Decoder(_Made)
_READ: Final = msgspec.json.Decoder(Packed)


def digest_of(outline: Outline, context: Context, embedding: Vector) -> Digest:
    """The digest of a request, by its outline, context and embedding."""
    return Digest(
        outline=outline,
        values=context.values,
        embedding=embedding,
        step_type=context.step_type,
        input_tokens=context.input_tokens,
        family=context.family,
    )


def pack(request: Request, *, encoder: StaticEncoder, wire_format: WireFormat) -> Packed:
    """The digest of a request as it travels; `wire_format` is the dialect that it came in."""
    context = extract(request)
    return Packed(
        version=VERSION,
        schema=SCHEMA.hash,
        encoder=encoder.hash,
        format=wire_format,
        request_hash=request_hash(request),
        values=encode_features(context.values),
        embedding=encode_embedding(embed(context, encoder)),
        input_tokens=context.input_tokens,
        family=context.family,
        outline=outline_of(request),
    )


def read_packed(body: bytes) -> Packed:
    """The digest that a caller sent, its numbers still as text.

    Raises BodyNeededError where another version made it, InvalidRequestError where it is wrong.
    """
    made = jsontext.decode(_READ_MADE, body)
    if made.version != VERSION:
        raise BodyNeededError("features.version", made.version, f"{VERSION}")
    if made.schema != SCHEMA.hash:
        raise BodyNeededError("features.schema", made.schema[:64], SCHEMA.hash)
    return jsontext.decode(_READ, body)


def unpack(packed: Packed, *, encoder: str, dimension: int) -> Digest:
    """The digest in its packed form, for a router with this encoder.

    Raises BodyNeededError where another encoder made the embedding. InvalidRequestError names
    what no request can have: what is neither finite nor of the right length, a flag that is none,
    several steps at once, sizes that contradict each other, a vector longer than 1.
    """
    if packed.encoder != encoder:
        raise BodyNeededError("features.encoder", packed.encoder, encoder)
    values = read_vector(packed.values, kind=FEATURES, n=SCHEMA.n, field="values")
    embedding = read_vector(
        packed.embedding, kind=EMBEDDING, n=dimension + N_MATCH, field="embedding"
    )
    _check_embedding(embedding, dimension)
    return Digest(
        outline=packed.outline,
        values=values,
        embedding=embedding,
        step_type=_checked_step(values, packed.input_tokens),
        input_tokens=packed.input_tokens,
        family=packed.family,
    )


def _checked_step(values: Vector, input_tokens: int) -> StepType:
    flags = values[_FLAGS]
    if not np.isin(flags, (0.0, 1.0)).all():
        raise InvalidRequestError("values", "a flag that is neither 0 nor 1", "flags of 0 or 1")
    steps = values[_STEPS]
    if steps.sum() != 1.0:
        raise InvalidRequestError("values", f"{int(steps.sum())} step types", "one of them")
    tokens = float(values[_TOTAL_TOKENS])
    if abs(tokens - input_tokens) > 0.5 + _ROUNDING * input_tokens:
        allowed = f"the total_tokens among the values, {tokens:.0f}"
        raise InvalidRequestError("input_tokens", input_tokens, allowed)
    return tuple(StepType)[int(steps.argmax())]


def _check_embedding(embedding: Vector, dimension: int) -> None:
    length = float(np.linalg.norm(embedding[:dimension]))
    if length > _LONGEST or float(np.abs(embedding[dimension:]).max()) > 2 * _LONGEST:
        raise InvalidRequestError("embedding", f"a length of {length:.3g}", "at most 1")
