"""Golden predictions: what an artifact said when it was written, compared when it is loaded.

Hashes show that files arrived whole; these show that the code, its libraries and the machine
still make the same numbers of them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.descriptors import describe
from router_model.embedding import N_MATCH, embed
from router_model.encoder import StaticEncoder
from router_model.errors import ArtifactError, PredictionError
from router_model.features import Context
from router_model.predictor import BoundPredictor, JointPredictor
from router_model.types import ModelCard

GOLDEN: Final = "golden.json"
TOLERANCE: Final = 1e-6
# Vectors are float16 between -1 and 1: one rounding step.
_VECTOR_TOLERANCE: Final = 1e-3


class GoldenContext(Struct, frozen=True, kw_only=True):
    """A context: its text, float32 features, float16 embedding (both as little-endian bytes)."""

    text: str
    features: bytes
    embedding: bytes


class Golden(Struct, frozen=True, kw_only=True):
    """`p_adequate` of every context (rows) for every model (columns)."""

    models: tuple[ModelCard, ...]
    contexts: tuple[GoldenContext, ...]
    p_adequate: tuple[tuple[float, ...], ...]


def golden_of(
    predictor: JointPredictor,
    encoder: StaticEncoder,
    *,
    contexts: Sequence[Context],
    cards: Sequence[ModelCard],
) -> Golden:
    """What the predictor says of these contexts and models; at least one of each."""
    bound = _bound(predictor, cards)
    vectors = [embed(context, encoder) for context in contexts]
    return Golden(
        models=tuple(cards),
        contexts=tuple(
            GoldenContext(
                text=context.text,
                features=context.values.astype("<f4").tobytes(),
                embedding=vector.astype("<f2").tobytes(),
            )
            for context, vector in zip(contexts, vectors, strict=True)
        ),
        p_adequate=tuple(
            tuple(bound.predict(context.values, vector).p_adequate.tolist())
            for context, vector in zip(contexts, vectors, strict=True)
        ),
    )


def write_golden(golden: Golden, folder: Path) -> None:
    """Write the golden predictions into an existing folder."""
    encoded = msgspec.json.format(msgspec.json.encode(golden), indent=1)
    (folder / GOLDEN).write_bytes(encoded + b"\n")


def read_golden(folder: Path) -> Golden:
    """The golden predictions of a folder; ArtifactError when they are missing or unreadable."""
    path = folder / GOLDEN
    try:
        return msgspec.json.decode(path.read_bytes(), type=Golden)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: can't be read: {error}") from error


def check_golden(folder: Path, predictor: JointPredictor, encoder: StaticEncoder) -> None:
    """ArtifactError naming the first vector or probability that differs from the folder's."""
    golden = read_golden(folder)
    if not (golden.models and golden.contexts and len(golden.contexts) == len(golden.p_adequate)):
        raise ArtifactError(f"{folder / GOLDEN}: expected models, contexts and a p for each")
    bound = _bound(predictor, golden.models)
    for number, (context, expected) in enumerate(
        zip(golden.contexts, golden.p_adequate, strict=True)
    ):
        try:
            _check(context, expected, bound=bound, encoder=encoder)
        except (ArtifactError, PredictionError) as error:
            raise ArtifactError(f"{folder / GOLDEN}: context {number}: {error}") from error


def _check(
    context: GoldenContext,
    expected: Sequence[float],
    *,
    bound: BoundPredictor,
    encoder: StaticEncoder,
) -> None:
    features, embedding = _vector(context.features, "<f4"), _vector(context.embedding, "<f2")
    sizes = len(features), len(embedding), len(expected)
    wanted = bound.predictor.n_features, encoder.dimension + N_MATCH, len(bound.names)
    if sizes != wanted:
        raise ArtifactError(f"got {sizes} features, dimensions and models, expected {wanted}")
    found = encoder.encode(context.text)
    worst = float(np.abs(found - embedding[:-N_MATCH]).max())
    if not worst <= _VECTOR_TOLERANCE:
        raise ArtifactError(f"the text's vector differs by {worst:.6f}")
    for name, p, says in zip(
        bound.names, bound.predict(features, embedding).p_adequate, expected, strict=True
    ):
        if not abs(float(p) - says) <= TOLERANCE:
            raise ArtifactError(f"p_adequate of {name}: got {p:.9f}, the artifact says {says:.9f}")


def _bound(predictor: JointPredictor, cards: Sequence[ModelCard]) -> BoundPredictor:
    return predictor.bind([card.id for card in cards], np.stack([describe(card) for card in cards]))


def _vector(data: bytes, kind: str) -> NDArray[np.float32]:
    item = np.dtype(kind).itemsize
    if len(data) % item:
        raise ArtifactError(f"got {len(data)} bytes of numbers, expected a multiple of {item}")
    return np.frombuffer(data, dtype=kind).astype(np.float32)
