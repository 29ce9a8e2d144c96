"""The vector of a context: its text's meaning, then how near the offered tools are to it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from router_model.features import Context, ToolTexts

MATCH_NAMES = (
    "match_best",
    "match_second",
    "match_mean",
    "match_gap",
    "match_best_full",
    "match_best_name",
)
"""Cosines of the text's vector with those of the tools, each tool as name and description.

Highest, second highest (0 with one tool), mean, highest minus second; then the nearest tool's
with its parameters told as well, and by its name alone.
"""

N_MATCH = len(MATCH_NAMES)
MATCH_UNIT = "cosine"

Vector = NDArray[np.float32]


class TextEncoder(Protocol):
    """What turns texts into vectors of length 1 (or 0) that float16 holds exactly."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, text: str) -> Vector:
        """The text's vector."""
        ...

    def encode_recurring(self, texts: tuple[str, ...]) -> NDArray[np.float64]:
        """Vectors of texts that will come again, shape (n, dimension), remembered."""
        ...


def embed(context: Context, encoder: TextEncoder) -> Vector:
    """Text vector and match values, float32 of shape (encoder.dimension + N_MATCH,).

    Rounded to float16, the precision of the log, so that what is trained on equals what is
    served.
    """
    vector = encoder.encode(context.text)
    embedding = np.zeros(len(vector) + N_MATCH, dtype=np.float16)
    embedding[: len(vector)] = vector
    if context.tool_texts.names and vector.any():
        embedding[len(vector) :] = _match_values(vector, context.tool_texts, encoder)
    return embedding.astype(np.float32)


def _match_values(
    vector: Vector, texts: ToolTexts, encoder: TextEncoder
) -> tuple[float, float, float, float, float, float]:
    """Values of `MATCH_NAMES`.

    Products of float16 numbers and sums of hundreds of them are exact in float64: neither the
    order of the tools nor the way a library adds up can change a value.
    """
    exact = vector.astype(np.float64)
    columns = [
        (encoder.encode_recurring(group) @ exact).tolist()
        for group in (texts.described, texts.full, texts.names)
    ]
    nearest = sorted(zip(*columns, strict=True), reverse=True)
    best, full, name = nearest[0]
    second = nearest[1][0] if len(nearest) > 1 else 0.0
    mean = sum(cosine for cosine, _, _ in nearest) / len(nearest)
    return best, second, mean, best - second, full, name
