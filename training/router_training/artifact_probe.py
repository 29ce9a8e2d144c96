"""Loads artifacts as the service does, in a process of its own, and times their predictions.

LightGBM's loader may crash on a damaged file, which must not take the caller with it. Run as
`python -m router_training.artifact_probe FOLDER [FOLDER]`; prints JSON, or one line of why not.
"""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from router_model.embedding import N_MATCH
from router_model.errors import ArtifactError, RouterError
from router_model.golden import read_golden
from router_model.router import Router

N_CALLS = 300
_TIMEOUT_S = 120


class Timing(Struct, frozen=True, kw_only=True):
    """Microseconds of predicting all models of the catalog for one context."""

    median_us: float
    p95_us: float


def probe(*folders: Path) -> tuple[Timing, ...]:
    """Timings of one or more artifacts, in turn in one process.

    ArtifactError when one can't be loaded, does not repeat its golden predictions, or crashes.
    """
    # -P: or what lies in the present folder could pass for a library.
    command = [sys.executable, "-P", "-m", "router_training.artifact_probe", *map(str, folders)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{folders[0]}: did not load within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ArtifactError(last or f"{folders[0]}: the loader ended with {done.returncode}")
    return msgspec.json.decode(done.stdout, type=tuple[Timing, ...])


def time_predictions(routers: tuple[Router, ...], folder: Path) -> tuple[Timing, ...]:
    """Each router's timing on a golden context of the folder, their calls interleaved."""
    context = read_golden(folder).contexts[0]
    features = np.frombuffer(context.features, dtype="<f4").astype(np.float32)
    spent = np.empty((len(routers), N_CALLS))
    vectors = [np.zeros(router.encoder.dimension + N_MATCH, dtype=np.float32) for router in routers]
    for call in range(-20, N_CALLS):
        for place, router in enumerate(routers):
            started = time.perf_counter_ns()
            router.scorer.bound.predict(features, vectors[place])
            if call >= 0:
                spent[place, call] = (time.perf_counter_ns() - started) / 1000
    return tuple(
        Timing(median_us=float(np.median(row)), p95_us=float(np.quantile(row, 0.95)))
        for row in spent
    )


def main(arguments: list[str]) -> int:
    """Print the timings of these folders; 1 when one of them can't be used."""
    folders = [Path(argument) for argument in arguments]
    try:
        routers = tuple(Router.load(folder) for folder in folders)
        timings = time_predictions(routers, folders[0])
    except RouterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(timings).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
