"""Fuzz what reads bodies: parsers, features, the engine, outcomes. All but a refusal is a crash.

Guided by coverage of our own code, with bodies like those of real clients to begin with:

    python tests/fuzz/parsers.py -max_total_time=60

Needs atheris, which no extra installs (`pip install atheris`). Arguments are those of libFuzzer; a
body that breaks something is left as `crash-…` where you are, and tried again when it is named.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("parsers.py: atheris is not installed, expected `pip install atheris`")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["router_model", "router_serving"]):
    import hostile_bodies as hostile
    from routers import router
    from served_engine import Served

    from router_model.types import WireFormat

FORMATS = list(WireFormat)
N_TARGETS = len(FORMATS) + 2
# The log's queue is never written here.
N_CALLS_EACH = 5_000


class Target:
    """Takes one input after another; the first byte says what reads the rest."""

    def __init__(self) -> None:
        self._n_calls = 0
        self._served = Served(router())

    def __call__(self, data: bytes) -> None:
        """Try one input."""
        if not data:
            return
        which, body = data[0] % N_TARGETS, data[1:]
        if which < len(FORMATS):
            hostile.checked_parse(body, wire_format=FORMATS[which])
        elif which == len(FORMATS):
            hostile.checked_outcomes(body)
        else:
            self._n_calls += 1
            if self._n_calls % N_CALLS_EACH == 0:
                self._served = Served(router())
            hostile.checked_route(self._served, body)


def seeds() -> list[bytes]:
    """Good bodies: each dialect by name, alone and in an envelope, and outcomes."""
    found = []
    for index, wire_format in enumerate(FORMATS):
        body = json.dumps(hostile.real(wire_format)).encode()
        envelope = json.dumps(hostile.enveloped(wire_format)).encode()
        found += [bytes([index]) + body, bytes([N_TARGETS - 1]) + body]
        found.append(bytes([N_TARGETS - 1]) + envelope)
    outcome = json.dumps([hostile.OUTCOME]).encode()
    return [*found, bytes([len(FORMATS)]) + outcome]


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time another place in the JSON is spoilt, else the bytes are."""
    rng = random.Random(seed)
    if data and rng.random() < 0.5:
        try:
            tree = json.loads(data[1:])
        except (ValueError, RecursionError):
            tree = None
        if isinstance(tree, dict | list) and tree:
            try:
                return (data[:1] + hostile.spoilt(tree, rng))[:max_size]
            except (ValueError, RecursionError):
                pass
    return bytes(atheris.Mutate(data, max_size))


def main() -> None:
    """Run libFuzzer with its own arguments."""
    with tempfile.TemporaryDirectory(prefix="router-seeds-") as folder:
        for index, seed in enumerate(seeds()):
            (Path(folder) / f"seed-{index}").write_bytes(seed)
        arguments = [*sys.argv, "-max_len=60000", "-timeout=20"]
        if not any(Path(argument).exists() for argument in sys.argv[1:]):
            arguments.append(folder)
        atheris.Setup(arguments, Target(), custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
