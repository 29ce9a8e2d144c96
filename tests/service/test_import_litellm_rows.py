"""What a real LiteLLM writes down is what the importer reads."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from litellm_proxy import PYTHON, requires_litellm
from log_samples import HashEncoder
from upstream import serving_upstream

from router_data.gateway_import import GatewayImport, import_gateway_log
from router_data.imports.litellm import read_litellm
from router_data.store import Store

pytestmark = [pytest.mark.service, requires_litellm]
PROGRAM = Path(__file__).parents[1] / "litellm_rows.py"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("litellm")
    with serving_upstream() as upstream:
        upstream.fail("up-gpt-500", "500", times=9)
        subprocess.run(
            [PYTHON, PROGRAM, upstream.url, folder],
            check=True,
            timeout=240,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
    return folder


def imported(file: Path, state: Path) -> GatewayImport:
    return import_gateway_log(
        file, state, encoder=HashEncoder(), reader=read_litellm, progress=False
    )


def test_payloads_of_every_route_are_read(logs: Path, tmp_path: Path) -> None:
    report = imported(logs / "payloads.jsonl", tmp_path)
    assert (report.n_decisions, report.problems, report.left_out) == (5, {}, {})
    assert report.learned.n_with_request == 5
    with Store(tmp_path) as store:
        rows = store.query(
            "select r.tenant, d.format, d.key, r.error, r.cost_usd, r.tool_call_valid,"
            " r.input_tokens, r.latency_ms from rounds r join decisions d using (decision_id)"
            " order by r.ts_ms"
        )
    assert [row["format"] for row in rows if not row["error"]] == [
        "openai.chat",
        "openai.chat",
        "anthropic.messages",
        "openai.responses",
    ]
    assert {row["key"] for row in rows} == {"ab" * 32}
    for row in rows[:4]:
        assert row["tool_call_valid"] is True
        assert row["cost_usd"] > 0
        assert row["input_tokens"] > 0
        assert row["latency_ms"] > 0
    assert rows[4]["error"].startswith("InternalServerError")


def test_cached_tokens_are_part_of_the_input_whoever_the_provider_is(logs: Path) -> None:
    for text in (logs / "payloads.jsonl").read_bytes().splitlines():
        row = msgspec.json.decode(text)
        told = row["metadata"]["usage_object"].get("prompt_tokens_details") or {}
        assert (told.get("cached_tokens") or 0) <= row["prompt_tokens"]


def test_rows_of_spendlogs_are_the_same_calls(logs: Path, tmp_path: Path) -> None:
    first = imported(logs / "spend.jsonl", tmp_path)
    assert (first.n_decisions, first.problems) == (4, {})
    assert first.learned.n_with_request == 2  # the two whose body the proxy handed on
    again = imported(logs / "payloads.jsonl", tmp_path)
    assert (again.n_decisions + again.n_known, again.problems) == (5, {})
    with Store(tmp_path) as store:
        (row,) = store.query("select count(*) as n, count(features) as whole from decisions")
    assert (row["n"], row["whole"]) == (5, 5)
