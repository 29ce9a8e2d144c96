"""Says what became of a file's records."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from router_data.gateway_import import GatewayImport
from router_data.imports.refused import problem_lines
from router_data.imports.score_file import BadScores
from router_data.imports.scores import Scores

_MAX_SHOWN = 10


def told_lines(report: GatewayImport, scores: Scores, *, unit: str) -> Iterator[str]:
    """What an import did, as lines of text; `unit` is what the file holds."""
    yield (
        f"{report.n_lines} {unit}: {report.n_decisions} decisions with their outcomes logged, "
        f"{report.n_known} were there already"
    )
    yield from problem_lines(report.problems, report.bad_lines, report.left_out)
    for reason, n in report.without_content.items():
        yield f"  {n} for their spending only: {reason}"
    if report.unknown_models:
        yield f"  models that the catalog does not know: {_names(report.unknown_models)}"
    if scores.names:
        told = ", ".join(f"{name} {n}" for name, n in scores.names.most_common(_MAX_SHOWN))
        hint = "" if scores.rule else "; none is used without --score NAME"
        yield f"  scores: {told}; used {scores.n_used}, unusable {scores.n_unusable}{hint}"


def bad_score_lines(path: Path, bad: BadScores) -> Iterator[str]:
    """What of a file with scores could not be used; nothing where all could."""
    if bad.quarantine is not None:
        yield f"{path}: {bad.refused.problems.total()} records are no scores:"
        yield from problem_lines(bad.refused.problems, bad.refused.bad_lines(), {})
        yield f"they are kept in {bad.quarantine}"


def _names(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} ({n})" for name, n in islice(counts.items(), _MAX_SHOWN))
    more = len(counts) - _MAX_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")
