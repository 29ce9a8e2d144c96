"""Rows of numbers as text: base64 of little-endian floats, as the log and the wire hold them."""

import base64
import binascii
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from router_model.errors import InvalidRequestError

Kind = Literal["<f4", "<f2"]
FEATURES: Final[Kind] = "<f4"
EMBEDDING: Final[Kind] = "<f2"


def encode_features(values: NDArray[np.float32]) -> str:
    """Base64 of little-endian float32.

    >>> encode_features(np.array([1.0], dtype=np.float32))
    'AACAPw=='
    """
    return base64.b64encode(np.asarray(values, dtype=FEATURES).tobytes()).decode()


def encode_embedding(values: NDArray[np.float32]) -> str:
    """Base64 of little-endian float16.

    >>> encode_embedding(np.array([1.0], dtype=np.float32))
    'ADw='
    """
    return base64.b64encode(np.asarray(values).astype(EMBEDDING).tobytes()).decode()


def read_vector(text: str, *, kind: Kind, n: int, field: str) -> NDArray[np.float32]:
    """The `n` numbers that a caller sent; InvalidRequestError unless they are that many, finite.

    >>> read_vector("AACAPw==", kind=FEATURES, n=1, field="values")
    array([1.], dtype=float32)
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError(field, text, "base64") from None
    expected = n * np.dtype(kind).itemsize
    if len(data) != expected:
        allowed = f"{expected}: {n} numbers of the kind {kind}"
        raise InvalidRequestError(field, f"{len(data)} bytes", allowed)
    values = np.frombuffer(data, dtype=kind).astype(np.float32)
    if not np.isfinite(values).all():
        raise InvalidRequestError(field, "an infinite value or none", "finite numbers")
    return values
