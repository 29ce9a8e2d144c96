"""Features and embedding of imported requests, computed once per distinct content."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from router_data.progress import hidden
from router_data.tables import TableRequest
from router_model import embedding, features, formats
from router_model.embedding import N_MATCH, embed
from router_model.errors import DatasetError, InvalidRequestError
from router_model.types import Request, WireFormat

# Imported tables carry no time. Groups are spread over this one day by their hash, so that a
# split by time is a split by group, whatever the order of the file.
IMPORT_START_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
_DAY_MS = 86_400_000
_GROUP_SPAN_MS = 1_000


class TextEncoder(embedding.TextEncoder, Protocol):
    """What turns texts into vectors; `hash` names its weights."""

    @property
    def hash(self) -> str:
        """Identity of the weights."""
        ...


@dataclass(frozen=True, slots=True)
class TableContext:
    """What the router would have known about one imported request.

    `embedding` is that of `router_model.embedding`: float32 holding float16 values, the
    precision in which the log keeps it. `text` is the bounded text that was embedded.
    """

    features: NDArray[np.float32]
    embedding: NDArray[np.float32]
    step_type: str
    input_tokens: int
    client: str
    text: str = ""


def table_contexts(
    requests: Sequence[TableRequest],
    *,
    encoder: TextEncoder,
    problems: Counter[str],
    progress: bool = False,
) -> list[TableContext | None]:
    """One context per request, in order; None (counted in `problems`) where parsing failed."""
    known: dict[str, TableContext | None] = {}
    for request in tqdm(requests, desc="features", unit="request", disable=hidden(progress)):
        if request.content_hash not in known:
            known[request.content_hash] = _context(request, encoder, problems)
        elif known[request.content_hash] is None:
            problems["request: the same unreadable content again"] += 1
    return [known[request.content_hash] for request in requests]


def import_id(request: TableRequest, *, policy: str, seed: int) -> str:
    """The decision id of an imported request: the same for the same table and policy.

    `seed` matters only where the policy draws.
    """
    parts = (request.dataset, request.request_id, policy, "" if policy == "full" else str(seed))
    return "import-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def import_time(request: TableRequest) -> int:
    """The request's own time, else a time within the import day that depends on its group."""
    if request.ts_ms is not None:
        return request.ts_ms
    within_day = _hashed((request.dataset, request.group)) % (_DAY_MS - _GROUP_SPAN_MS)
    return IMPORT_START_MS + within_day + _hashed((request.request_id,)) % _GROUP_SPAN_MS


def import_session(request: TableRequest) -> str:
    """The request's own session, else one session for the request alone."""
    return request.session or f"{request.dataset}:{request.request_id}"


def _context(
    request: TableRequest, encoder: TextEncoder, problems: Counter[str]
) -> TableContext | None:
    try:
        parsed = formats.parse(request.body, wire_format=WireFormat.OPENAI_CHAT)
    except InvalidRequestError as error:
        problems[f"request: unreadable: {error.field}: expected {error.allowed}"] += 1
        return None
    return context_of(parsed, encoder)


def context_of(request: Request, encoder: TextEncoder) -> TableContext:
    """What the router would have known about a request."""
    context = features.extract(request)
    vector = embed(context, encoder)
    if len(vector) != encoder.dimension + N_MATCH:
        raise DatasetError(
            f"encoder: got a vector of {len(vector) - N_MATCH} numbers, expected "
            f"{encoder.dimension}"
        )
    return TableContext(
        features=np.asarray(context.values, dtype=np.float32),
        embedding=vector,
        step_type=str(context.step_type),
        input_tokens=int(context.input_tokens),
        client=context.family,
        text=context.text,
    )


def _hashed(parts: tuple[str, ...]) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")
