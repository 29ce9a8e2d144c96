"""Reads scores that are in a file of their own; what is none is counted and kept aside."""

from pathlib import Path
from typing import NamedTuple

from router_data.imports.aside import LinesAside
from router_data.imports.langfuse import read_scores
from router_data.imports.refused import Refused
from router_data.imports.scores import Scores
from router_data.set_aside import QUARANTINE


class BadScores(NamedTuple):
    """What of a file was no score, and the file in the quarantine that keeps it, if any."""

    refused: Refused
    quarantine: Path | None


def read_score_file(path: Path, scores: Scores, *, log: Path, progress: bool = False) -> BadScores:
    """Take all scores of a file; the rest goes to the quarantine of the log."""
    refused = Refused()
    with LinesAside(log / QUARANTINE, path.stem) as aside:
        for line in read_scores(path, scores, progress=progress):
            problem = f"score: {line.problem}"
            refused.add(line.number, problem)
            aside.add(line, problem)
    return BadScores(refused, aside.path)
