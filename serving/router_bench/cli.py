"""Measure both servers in one run, in shuffled order, and compare them."""

import json
import os
import platform
import random
import socket
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from router_bench.bodies import MARK, conversation
from router_bench.client import post_us
from router_bench.servers import FLOOR, SERVICE, Server, started

SIZES = {"4 KB": 4_000, "40 KB": 40_000, "400 KB": 400_000, "1.5 MB": 1_500_000}
N_BODIES = 8
WARM_UP = 20
EPILOG = "Example: python -m router_bench --rounds 4 --out bench.json"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Row:
    """The latency of one server at one size over all rounds."""

    size: str
    server: str
    n_calls: int
    p50_us: float
    p99_us: float
    p50_us_by_round: list[float]
    faults_per_call: float


@app.command(epilog=EPILOG)
def bench(
    rounds: Annotated[int, typer.Option(min=2, help="Rounds in shuffled order.")] = 3,
    calls: Annotated[int, typer.Option(min=100, help="Calls a round, size and server.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the bodies and the order.")] = 0,
    artifact: Annotated[Path | None, typer.Option(help="Artifact folder [the starter].")] = None,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("var/bench.json"),
) -> None:
    """Compare POST /route with a server that reads, parses and answers the same every time.

    One client on one connection sends a call when the one before was answered.
    """
    with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
        state = Path(folder)
        command = [*SERVICE, folder, *(["--artifact", str(artifact)] if artifact else [])]
        with (
            started(FLOOR, log=state / "floor.log") as least,
            started(command, log=state / "service.log") as measured,
        ):
            servers = {"floor": least, "service": measured}
            rows = measure(servers, rounds=rounds, calls=calls, seed=seed)
    typer.echo(table(rows))
    machine = {
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
    arguments = {"rounds": rounds, "calls": calls, "seed": seed}
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, **arguments, "rows": [asdict(row) for row in rows]}
    out.write_text(json.dumps(content, indent=1) + "\n")
    typer.echo(f"\n{machine['cores']} cores, load {machine['load_1_min']}; figures in {out}")


def measure(servers: dict[str, Server], *, rounds: int, calls: int, seed: int) -> list[Row]:
    """One row per size and server; each round visits them in an order of its own."""
    rng = random.Random(seed)
    times: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    faults: dict[tuple[str, str], int] = defaultdict(int)
    cells = [(size, server) for size in SIZES for server in servers]
    for number in range(rounds):
        bodies = {
            name: [conversation(size, seed=seed + number * N_BODIES + n) for n in range(N_BODIES)]
            for name, size in SIZES.items()
        }
        for size, name in rng.sample(cells, len(cells)):
            taken, n_faults = visit(servers[name], bodies[size], calls=calls)
            times[size, name].append(taken)
            faults[size, name] += n_faults
    return [row_of(*cell, times[cell], faults[cell]) for cell in cells]


def visit(server: Server, bodies: list[bytes], *, calls: int) -> tuple[list[float], int]:
    """Microseconds of each call, and the page faults of the server, after a warm-up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken = []
        before = 0
        for number in range(WARM_UP + calls):
            if number == WARM_UP:
                before = server.minor_faults()
            mark = b"call-%08x" % random.getrandbits(32)
            body = bodies[number % len(bodies)].replace(MARK, mark, 1)
            taken.append(post_us(connection, body))
        return taken[WARM_UP:], server.minor_faults() - before


def row_of(size: str, server: str, rounds: list[list[float]], n_faults: int) -> Row:
    """The percentiles of a size and a server."""
    together = np.concatenate([np.asarray(taken) for taken in rounds])
    return Row(
        size=size,
        server=server,
        n_calls=together.size,
        p50_us=round(float(np.percentile(together, 50)), 1),
        p99_us=round(float(np.percentile(together, 99)), 1),
        p50_us_by_round=[round(float(np.median(taken)), 1) for taken in rounds],
        faults_per_call=round(n_faults / together.size, 2),
    )


def table(rows: list[Row]) -> str:
    """The rows as text, with the ratio of each to the floor at its size."""
    floors = {row.size: row for row in rows if row.server == "floor"}
    lines = [
        f"{'body':8} {'server':8} {'p50 us':>9} {'p99 us':>9} {'x floor':>8} {'p99/p50':>8}"
        f" {'faults':>7}"
    ]
    for row in rows:
        lines.append(
            f"{row.size:8} {row.server:8} {row.p50_us:9.0f} {row.p99_us:9.0f}"
            f" {row.p50_us / floors[row.size].p50_us:8.2f} {row.p99_us / row.p50_us:8.2f}"
            f" {row.faults_per_call:7.1f}"
        )
    return "\n".join(lines)
