"""Turns the log of a gateway or a tracing tool into rows of ours.

Features and embedding are computed as for a live request. Where the gateway says with which
probability it drew each model the feedback is "bandit", else "observational": such rows may
train, but off-policy estimates can't use them. Calls without their request become rows without
features, which tell of spending only. Records that can't be used are kept in `<log>/quarantine`
with the reason, for repair.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from router_data.contexts import TextEncoder
from router_data.gateway_log import GatewayCall, Line, Reader, read_lines, without_twins
from router_data.gateway_rows import DEFAULT_TENANT, POLICY, GatewayRowMaker, Row
from router_data.imports.aside import LinesAside
from router_data.imports.known import KnownCalls
from router_data.imports.learned import Learned, learned_from
from router_data.imports.naming import ModelNames, count_in
from router_data.imports.refused import Refused, problem_lines
from router_data.log import SEGMENTS, SegmentWriter, log_dir
from router_data.prices import shipped_catalog
from router_data.set_aside import QUARANTINE
from router_data.store import Store
from router_model.catalog import Catalog
from router_model.errors import DatasetError, InvalidRequestError

_BATCH = 200
_REPEATED = "line: the same call again"


class NoUsableLineError(DatasetError):
    """A file of which nothing could be used; its format is probably another one."""


@dataclass(frozen=True, slots=True)
class GatewayImport:
    """What an import did; `problems` counts unusable lines by reason, `bad_lines` numbers them.

    Of each reason at most a hundred lines are numbered. `n_known` calls were in the log already
    with the same content. `left_out` counts sound records that are no calls of a model,
    `without_content` calls whose request is missing, by reason; `unknown_models` names that the
    catalog does not know. `quarantine` is the file that holds the unusable lines, None when there
    are none.
    """

    n_lines: int
    n_decisions: int
    n_known: int
    problems: Mapping[str, int]
    bad_lines: Mapping[str, tuple[int, ...]]
    quarantine: Path | None
    left_out: Mapping[str, int]
    without_content: Mapping[str, int]
    unknown_models: Mapping[str, int]
    learned: Learned


@dataclass(slots=True)
class _Tally:
    """Counts while an import runs."""

    learned: Learned
    n_lines: int = 0
    n_decisions: int = 0
    n_known: int = 0
    refused: Refused = field(default_factory=Refused)
    left_out: Counter[str] = field(default_factory=Counter)
    without_content: Counter[str] = field(default_factory=Counter)


def import_gateway_log(
    path: Path,
    state: Path,
    *,
    encoder: TextEncoder,
    reader: Reader | None = None,
    catalog: Catalog | None = None,
    tenant: str = DEFAULT_TENANT,
    with_text: bool = False,
    progress: bool = True,
) -> GatewayImport:
    """Append the calls of a log to the log of a state folder.

    `reader` knows the format, the plain one when not given. `catalog` (the shipped one when not
    given) gives models their names and prices. `tenant` is that of lines that name none.
    Importing again adds nothing, unless a call's outcome or the encoder has changed: then the new
    rows replace the old ones. Raises NoUsableLineError when no line is usable.
    """
    log = log_of(state)
    chosen = catalog or shipped_catalog()
    with Store(log) as store:
        known = KnownCalls(store, POLICY)
    tally, names = _Tally(learned_from(chosen)), ModelNames(chosen)
    maker = GatewayRowMaker(encoder, tenant=tenant, finds_retries=True, with_text=with_text)
    batch: list[Row] = []
    lines = without_twins(read_lines(path, reader, progress=progress))
    with (
        LinesAside(log / QUARANTINE, path.stem) as aside,
        SegmentWriter(log / SEGMENTS, "import") as writer,
    ):
        for call, rows in _made(lines, maker, names, tally, aside):
            batch += _new(call, rows, known, tally)
            if len(batch) >= _BATCH:
                writer.append(batch)
                batch = []
        writer.append(batch)
    if not tally.n_decisions + tally.n_known:
        raise _nothing_usable(path, tally, aside.path)
    return GatewayImport(
        n_lines=tally.n_lines,
        n_decisions=tally.n_decisions,
        n_known=tally.n_known,
        problems=dict(sorted(tally.refused.problems.items())),
        bad_lines=tally.refused.bad_lines(),
        quarantine=aside.path,
        left_out=dict(sorted(tally.left_out.items())),
        without_content=dict(sorted(tally.without_content.items())),
        unknown_models=dict(names.unknown.most_common()),
        learned=tally.learned,
    )


def log_of(state: Path) -> Path:
    """The folder of a state's log, which need not be there yet."""
    return log_dir(state) if (state / SEGMENTS).is_dir() else state / "log"


def _nothing_usable(path: Path, tally: _Tally, quarantine: Path | None) -> NoUsableLineError:
    refused = tally.refused
    reasons = problem_lines(refused.problems, refused.bad_lines(), tally.left_out)
    kept = () if quarantine is None else (f"unusable lines are kept in {quarantine}",)
    told = [*reasons, *kept] if tally.n_lines else ["  the file is empty"]
    return NoUsableLineError("\n".join([f"{path}: no usable line:", *told]))


def _made(
    lines: Iterator[Line],
    maker: GatewayRowMaker,
    names: ModelNames,
    tally: _Tally,
    aside: LinesAside,
) -> Iterator[tuple[GatewayCall, list[Row]]]:
    """Each call with its rows; everything else is counted, and what is unusable kept aside."""
    for line in lines:
        tally.n_lines += 1
        if line.left_out:
            count_in(tally.left_out, line.left_out)
            continue
        call = None if line.call is None else names.named(line.call)
        rows, problem = ([], f"line: {line.problem}") if call is None else _rows_of(call, maker)
        if call is None or problem:
            tally.refused.add(line.number, problem)
            aside.add(line, problem)
        else:
            yield call, rows


def _rows_of(call: GatewayCall, maker: GatewayRowMaker) -> tuple[list[Row], str]:
    """The rows of a call, or why there are none."""
    try:
        return maker.rows(call), ""
    except InvalidRequestError as error:
        return [], f"request: unreadable: {error.field}: expected {error.allowed}"
    except RecursionError:
        return [], "request: nested too deeply"


def _new(call: GatewayCall, rows: list[Row], known: KnownCalls, tally: _Tally) -> list[Row]:
    """The rows that the log does not have yet."""
    *signals, outcome, decision = rows
    standing = known.standing(
        decision["decision_id"], decision["versions"]["artifact"], has_request=call.has_request
    )
    if standing == "repeated":
        tally.refused.problems[_REPEATED] += 1
        return []
    tally.learned.add(decision, outcome, n_retried=len(signals))
    if not call.has_request:
        count_in(tally.without_content, call.without_content or "no request in the line")
    if standing == "known":
        tally.n_known += 1
        return []
    tally.n_decisions += 1
    return rows
