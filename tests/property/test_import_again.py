"""However exports overlap, are shuffled or repeated, each call is in the log once."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gateway_samples import console_span, exported, observation, payload, span, spend
from gateway_samples import lines as json_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from log_samples import HashEncoder

from router_data.gateway_import import import_gateway_log
from router_data.gateway_log import Reader
from router_data.imports.langfuse import read_langfuse
from router_data.imports.litellm import read_litellm
from router_data.imports.otel import read_otel
from router_data.imports.scores import Scores
from router_data.store import Store


def plain(n: int) -> dict[str, Any]:
    request = {"messages": [{"role": "user", "content": f"step {n}"}]}
    return {"id": str(n), "ts": 1_795_168_800 + n, "model": "m", "request": request}


def one_span(n: int) -> dict[str, Any]:
    return exported(span(n))


FORMATS: dict[str, tuple[Callable[[int], dict[str, Any]], Reader | None]] = {
    "plain": (plain, None),
    "payload": (payload, read_litellm),
    "spend": (spend, read_litellm),
    "spans": (one_span, read_otel),
    "console": (console_span, read_otel),
    "langfuse": (observation, partial(read_langfuse, scores=Scores(None))),
}
EXPORTS = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=8), min_size=1, max_size=3)


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=8, deadline=None)
@given(exports=EXPORTS)
def test_the_log_holds_the_union_of_all_exports_once(name: str, exports: list[list[int]]) -> None:
    make, reader = FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        path, state = Path(folder) / "log.jsonl", Path(folder) / "var"
        known: set[int] = set()
        for export in [*exports, exports[0]]:
            path.write_bytes(json_lines(*(make(n) for n in export)))
            report = import_gateway_log(
                path, state, encoder=HashEncoder(), reader=reader, progress=False
            )
            assert report.n_decisions == len(set(export) - known)
            assert report.n_known == len(set(export) & known)
            known |= set(export)
        with Store(state) as store:
            (counted,) = store.query(
                "select (select count(*) from all_decisions) as written,"
                " (select count(*) from decisions) as n, (select count(*) from quarantine) as bad"
            )
        assert counted == {"written": len(known), "n": len(known), "bad": 0}
