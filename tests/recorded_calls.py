"""Tables of recorded calls, made by a cache whose behaviour is known."""

from pathlib import Path
from typing import Any

import numpy as np

from router_data.store import write_parquet

BLOCK, P_HIT, RATIO = 128, 0.9, 1.25
PRICE = {"input": 2.0, "cached": 0.2, "output": 12.0}


def write_recording(
    folder: Path, *, n_sessions: int = 60, n_calls: int = 25, seed: int = 1, beside: bool = False
) -> Path:
    """`requests.parquet` and `steps.parquet` of sessions with two endpoints, each with its cache.

    A prefix is kept in blocks of `BLOCK` and found with probability `P_HIT`; a call bills `RATIO`
    tokens for four characters. `beside`: the input does not include the cached tokens.
    """
    rng = np.random.default_rng(seed)
    requests = [
        {
            "request_id": f"r{number}",
            "messages": '[{"role":"system","content":"' + "s" * 4000 + '"}]',
            "tools": "t" * 2000,
        }
        for number in range(n_sessions)
    ]
    steps = [row for number in range(n_sessions) for row in _session(rng, number, n_calls, beside)]
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "requests.parquet", requests)
    write_parquet(folder / "steps.parquet", steps)
    return folder


def _session(
    rng: np.random.Generator, number: int, n_calls: int, beside: bool
) -> list[dict[str, Any]]:
    held = {"A": 0, "b": 0}
    chars = int(rng.integers(500, 2500))
    rows = []
    for step in range(n_calls):
        endpoint = str(rng.choice(["A", "b"], p=[0.8, 0.2]))
        tokens = int(RATIO * (chars + 6000) / 4)
        read = held[endpoint] // BLOCK * BLOCK if rng.random() < P_HIT else 0
        output = int(rng.integers(20, 300))
        held[endpoint] = tokens
        cost = (tokens - read) * PRICE["input"] + read * PRICE["cached"] + output * PRICE["output"]
        rows.append(
            {
                "request_id": f"r{number}",
                "session_id": f"s{number}",
                "model": "m",
                "upstream": endpoint,
                "step": step,
                "prefix_chars": chars,
                "input_tokens": tokens - read if beside else tokens,
                "cached_input_tokens": read,
                "output_tokens": output,
                "cost_usd": cost / 1e6,
                "gap_since_prev_call_s": None if step == 0 else 5.0,
            }
        )
        chars += int(rng.integers(200, 3000))
    return rows
