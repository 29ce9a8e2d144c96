"""Turns a gateway's log into rows of ours.

Features and embedding are computed as for a live request. Where the gateway says with which
probability it drew each model the feedback is "bandit", else "observational": such rows may
train, but off-policy estimates can't use them. Lines that can't be used are kept in
`<log>/quarantine` with the reason, for repair.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from ulid import ULID

from router_data.contexts import TextEncoder, context_of
from router_data.gateway_log import GatewayCall, Line, read_lines
from router_data.log import SEGMENTS, SegmentWriter, log_dir
from router_data.rows import ROW_SCHEMA, encode_embedding, encode_features, request_hash
from router_data.set_aside import QUARANTINE
from router_data.store import Store
from router_model import features, formats
from router_model.errors import DatasetError, InvalidRequestError
from router_model.session import session_id
from router_model.types import Caller, WireFormat

# Names the rows as an import: they are nobody's spending here and may be imported again.
DATASET = "gateway"
DEFAULT_TENANT = "default"
_POLICY = "import:gateway"
_BATCH = 200
_KNOWN = "select tenant, decision_id, versions.artifact as content from decisions where policy = ?"
_REPEATED = "line: the same call again"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GatewayImport:
    """What an import did; `problems` counts unusable lines by reason, `bad_lines` numbers them.

    `n_known` calls were in the log already with the same content. `quarantine` is the file that
    holds the unusable lines, None when there are none.
    """

    n_lines: int
    n_decisions: int
    n_known: int
    problems: Mapping[str, int]
    bad_lines: Mapping[str, tuple[int, ...]]
    quarantine: Path | None


@dataclass(slots=True)
class _Tally:
    """Counts while an import runs."""

    n_lines: int = 0
    n_decisions: int = 0
    n_known: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    bad_lines: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def import_gateway_log(
    path: Path,
    state: Path,
    *,
    encoder: TextEncoder,
    tenant: str = DEFAULT_TENANT,
    progress: bool = True,
) -> GatewayImport:
    """Append the calls of a gateway's log to the log of a state folder.

    `tenant` is that of lines that name none. Importing again adds nothing, unless a call's outcome
    or the encoder has changed: then the new rows replace the old ones. Raises DatasetError when
    no line is usable.
    """
    log = log_dir(state) if (state / SEGMENTS).is_dir() else state / "log"
    with Store(log) as store:
        known = {
            (row["tenant"], row["decision_id"]): row["content"]
            for row in store.query(_KNOWN, (_POLICY,))
        }
    tally = _Tally()
    maker = GatewayRowMaker(encoder, tenant=tenant)
    batch: list[Row] = []
    lines = read_lines(path, progress=progress)
    with (
        _BadLines(log / QUARANTINE, path.stem) as bad,
        SegmentWriter(log / SEGMENTS, "import") as writer,
    ):
        for rows in _new_rows(lines, maker, known, tally, bad):
            batch += rows
            if len(batch) >= _BATCH:
                writer.append(batch)
                batch = []
        writer.append(batch)
    if not tally.n_decisions + tally.n_known:
        raise DatasetError(f"{path}: no usable line: {dict(tally.problems) or 'empty file'}")
    return GatewayImport(
        n_lines=tally.n_lines,
        n_decisions=tally.n_decisions,
        n_known=tally.n_known,
        problems=dict(sorted(tally.problems.items())),
        bad_lines={reason: tuple(numbers) for reason, numbers in tally.bad_lines.items()},
        quarantine=bad.path,
    )


def _new_rows(
    lines: Iterator[Line],
    maker: "GatewayRowMaker",
    known: Mapping[tuple[str, str], str],
    tally: _Tally,
    bad: "_BadLines",
) -> Iterator[list[Row]]:
    """The rows of each call that is not in the log yet; everything else is counted."""
    seen: set[tuple[str, str]] = set()
    for line in lines:
        tally.n_lines += 1
        rows, problem = _rows_of(line, maker)
        if problem:
            tally.problems[problem] += 1
            tally.bad_lines[problem].append(line.number)
            bad.add(line, problem)
            continue
        decision = rows[-1]
        key = (decision["tenant"], decision["decision_id"])
        if key in seen:
            tally.problems[_REPEATED] += 1
        elif known.get(key) == decision["versions"]["artifact"]:
            tally.n_known += 1
        else:
            tally.n_decisions += 1
            yield rows
        seen.add(key)


def _rows_of(line: Line, maker: "GatewayRowMaker") -> tuple[list[Row], str]:
    """The rows of a line, or why there are none."""
    if line.call is None:
        return [], f"line: {line.problem}"
    try:
        return maker.rows(line.call), ""
    except InvalidRequestError as error:
        return [], f"request: unreadable: {error.field}: expected {error.allowed}"
    except RecursionError:
        return [], "request: nested too deeply"


class _BadLines:
    """Keeps unusable lines in a file; the same lines of the same file give the same name."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.path: Path | None = None
        self._temporary = folder / f".import-{stem}-{ULID()}.tmp"
        self._stem = stem
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None

    def add(self, line: Line, reason: str) -> None:
        """Write one line with its number and reason."""
        if self._file is None:
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch(mode=0o600)  # lines hold prompts
            self._file = self._temporary.open("wb")
        text = line.text.decode("utf-8", "replace")
        data = msgspec.json.encode({"line": line.number, "reason": reason, "text": text}) + b"\n"
        self._digest.update(data)
        self._file.write(data)

    def __enter__(self) -> "_BadLines":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            name = f"import-{self._stem}-{self._digest.hexdigest()[:12]}.jsonl"
            self.path = self._temporary.replace(self._temporary.with_name(name))


class GatewayRowMaker:
    """Makes the log rows of one call after the other."""

    def __init__(self, encoder: TextEncoder, *, tenant: str = DEFAULT_TENANT) -> None:
        self.encoder = encoder
        self.tenant = tenant

    def rows(self, call: GatewayCall) -> list[Row]:
        """The outcome row and, last, the decision row. Raises InvalidRequestError.

        The decision comes last, so that where an import was interrupted a decision in the log
        has its outcome.
        """
        decision = self._decision(call)
        key = (call.id,) if call.id else _identity(decision)
        digest = hashlib.sha256(msgspec.json.encode([decision["tenant"], *key])).hexdigest()
        decision["decision_id"] = f"gateway-{digest[:32]}"
        outcome = _outcome(call, decision)
        content = hashlib.sha256(msgspec.json.encode([decision, outcome])).hexdigest()[:16]
        decision["versions"] = {"artifact": f"import:{content}", "catalog": "", "policy": ""}
        return [outcome, decision]

    def _decision(self, call: GatewayCall) -> Row:
        body = _body(call)
        wire_format = _wire_format(call, body)
        request = formats.parse(body, wire_format=wire_format, path=call.path)
        caller = Caller(
            tenant=call.tenant or self.tenant, key=call.key, user=call.user, session=call.session
        )
        context = context_of(request, self.encoder)
        distribution = call.distribution if call.is_drawn else None
        return {
            "schema": ROW_SCHEMA,
            "kind": "decision",
            "ts_ms": call.ts_ms,
            "tenant": caller.tenant,
            "key": caller.key,
            "user": caller.user,
            "session": session_id(request, {}, caller),
            "client": call.client or context.client or None,
            "format": str(wire_format),
            "requested_model": request.requested_model,
            "request_hash": request_hash(request),
            "step_type": context.step_type,
            "model": call.model,
            "propensity": call.propensity,
            "policy": _POLICY,
            "reason": "imported",
            "feedback": "observational" if distribution is None else "bandit",
            "fallbacks": [],
            "excluded": {},
            "candidates": [
                {"model": model, "probability": p} for model, p in (distribution or {}).items()
            ],
            "features": encode_features(context.features),
            "feature_schema": features.SCHEMA.hash,
            "embedding": encode_embedding(context.embedding),
            "encoder": self.encoder.hash,
            "input_tokens": context.input_tokens,
            "max_output_tokens": request.max_output_tokens,
            "dataset": DATASET,
        }


def _identity(decision: Row) -> tuple[Any, ...]:
    names = ("ts_ms", "key", "user", "session", "model", "request_hash")
    return tuple(decision[name] for name in names)


def _body(call: GatewayCall) -> bytes:
    """The client's body, which may also have been logged as text."""
    body = bytes(call.request)
    return msgspec.json.decode(body, type=str).encode() if body.startswith(b'"') else body


def _wire_format(call: GatewayCall, body: bytes) -> WireFormat:
    """The dialect as named, else as the path says, else as the body looks."""
    if call.format is None:
        named = formats.format_of_path(call.path) if call.path else None
        return named or formats.detect(body)
    try:
        return WireFormat(call.format)
    except ValueError:
        allowed = f"one of {', '.join(WireFormat)}"
        raise InvalidRequestError("format", call.format, allowed) from None


def _outcome(call: GatewayCall, decision: Row) -> Row:
    return {
        "schema": ROW_SCHEMA,
        "kind": "outcome",
        "ts_ms": decision["ts_ms"],
        "decision_id": decision["decision_id"],
        "attempt": 0,
        "tenant": decision["tenant"],
        "model": call.model,
        "adequate": call.adequate,
        "reward": call.reward,
        "signals": call.signals,
        "usage": msgspec.to_builtins(call.usage),
        "cost_usd": call.cost_usd,
        "latency_ms": call.latency_ms,
        "tool_call_latency_ms": call.tool_call_latency_ms,
        "tool_call_valid": call.tool_call_valid,
        "error": call.error or None,
    }
