import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from probe_runs import (
    PRICES,
    Probed,
    arguments,
    probe,
)
from probe_server import KEY, MODEL, Endpoint, serving
from typer.testing import CliRunner

from router_data.cli import app
from router_data.log import log_dir, verify
from router_data.prices import shipped_catalog
from router_data.store import Store
from router_training.behaviour import fit_behaviour

pytestmark = pytest.mark.service


def test_a_budget_stops_before_the_call_that_could_exceed_it(tmp_path: Path) -> None:
    endpoint = Endpoint()
    with serving(endpoint) as url:
        probed = probe(url, tmp_path, "--max-usd", "0.03")
    assert probed.exit_code == 1
    assert "stopped early: budget: the next call may cost $" in probed.output
    results = probed.results()
    assert results["tool_round_trip"] == "pass"
    assert results["context"] == "not run"
    assert "not run: budget" in probed.evidence("context")
    assert sum(check["cost_usd"] for check in probed.report["checks"]) <= 0.03
    assert probed.report["spent_usd"] <= 0.03
    assert endpoint.spent_usd <= 0.03


def test_what_was_seen_before_the_budget_ended_a_check_is_reported(tmp_path: Path) -> None:
    with serving(Endpoint()) as url:
        probed = probe(url, tmp_path, "--max-usd", "0.012", "--only", "context")
    assert probed.results() == {"context": "not run"}
    assert "pass: needles at" in probed.evidence("context")
    (check,) = probed.report["checks"]
    assert 0 < check["n_calls"] < 6
    assert 0 < check["cost_usd"] <= 0.012


def test_a_log_that_can_not_be_written_costs_no_report(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("no folder", encoding="utf-8")
    with serving(Endpoint()) as url:
        probed = probe(url, tmp_path, "--only", "tool_round_trip")
    assert probed.exit_code == 1
    assert "stopped early: log:" in probed.output
    assert "pass: the answer uses the result" in probed.evidence("tool_round_trip")


def test_no_call_is_made_that_no_budget_covers(tmp_path: Path) -> None:
    endpoint = Endpoint()
    with serving(endpoint) as url:
        probed = probe(url, tmp_path, "--max-usd", "0")
    assert probed.exit_code == 1
    assert endpoint.n_calls == 0
    assert set(probed.results().values()) == {"not run"}
    assert not probed.overlay.exists()


def test_ctrl_c_writes_what_was_found_until_then(tmp_path: Path) -> None:
    with serving(Endpoint("hang_under_load")) as url:
        words = arguments(url, tmp_path, *PRICES, "--timeout-s", "100")
        environment = os.environ | {"PROBE_KEY": KEY}
        command = [sys.executable, "-c", "from router_data.cli import app; app()", *words]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            log = tmp_path / "var" / "log" / "segments"
            # The calls of a check are in the log once it has ended; the one after retry hangs.
            while '"probe":"retry"' not in _text_of(log):
                assert process.poll() is None
                time.sleep(0.1)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
    probed = Probed(process.returncode, output, tmp_path)
    assert probed.exit_code == 1
    assert "stopped early: interrupted" in output
    assert "Traceback" not in output
    results = probed.results()
    assert results["cache"] == "pass"
    assert results["load"] == results["errors"] == "not run"
    assert "not run: interrupted" in probed.evidence("load")
    assert shipped_catalog(probed.overlay).models[MODEL].capabilities.seed


def _text_of(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.jsonl"))


def test_facts_join_an_overlay_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    overlay = tmp_path / "out" / "overlay.toml"
    overlay.write_text(
        "# ours\n[models.mine]\nprovider = 'self'\ncontext_window = 9000\n"
        "max_output_tokens = 100\nprice = { input = 0.0, output = 0.0 }\n\n"
        f"[models.{MODEL}]\nprovider = 'us'\ncontext_window = 12000\nmax_output_tokens = 4000\n"
        "price = { input = 2.0, output = 4.0 }\ncapabilities = { vision = true }\n",
        encoding="utf-8",
    )
    with serving(Endpoint("seed_ignored")) as url:
        probed = probe(url, tmp_path, "--only", "seed", "--only", "json", prices=())
    assert probed.report["price_input"] == 2.0
    catalog = shipped_catalog(overlay)
    assert catalog.models["mine"].context_window == 9000
    card = catalog.models[MODEL]
    assert (card.provider, card.context_window) == ("us", 12000)
    assert card.capabilities.vision
    assert card.capabilities.json_mode
    assert not card.capabilities.seed
    assert overlay.read_text(encoding="utf-8").startswith("# ours\n")


def test_the_facts_of_a_model_in_the_catalog_are_only_the_observed_ones(tmp_path: Path) -> None:
    with serving(Endpoint()) as url:
        probed = probe(url, tmp_path, "--only", "streaming")
    text = probed.overlay.read_text(encoding="utf-8")
    assert "tool_call_streaming" in text
    assert "seed" not in text


def test_the_calls_are_in_the_log_and_can_be_learned_from(tmp_path: Path) -> None:
    with serving(Endpoint("needle_lost")) as url:
        probed = probe(url, tmp_path)
    assert verify(log_dir(probed.state)).is_ok
    with Store(probed.state) as store:
        assert store.query("select * from quarantine") == []
        (counts,) = store.query(
            "select count(*) as n, count(distinct decision_id) as n_ids, "
            "bool_and(tenant = 'probe' and dataset = 'probe' and feedback = 'observational' "
            "and len(features) > 0 and propensity is null) as is_plain from decisions"
        )
        assert counts["n"] == counts["n_ids"] > 20
        assert counts["is_plain"]
        context = store.query(
            "select adequate, signal(signals, '$.prefix_tokens') as tokens, cost_usd "
            "from outcomes where json_extract_string(signals, '$.probe') = 'context'"
        )
        load = store.query(
            "select tool_call_latency_ms, tool_call_valid, n_tool_calls, n_tool_call_chunks "
            "from outcomes where json_extract_string(signals, '$.probe') = 'latency'"
        )
        spent = store.query("select count(*) as n from spending")
    assert spent == [{"n": 0}]
    assert len(context) == 6
    assert max(row["tokens"] for row in context if row["adequate"]) < 2500
    assert min(row["tokens"] for row in context if not row["adequate"]) > 2500
    assert all(row["cost_usd"] > 0 for row in context)
    assert len(load) == 3 + 6
    for row in load:
        assert row["tool_call_latency_ms"] > 0
        assert row["tool_call_valid"]
        assert row["n_tool_calls"] == 1
        assert row["n_tool_call_chunks"] >= 2
    measures = {c["check"]: c["measures"] for c in probed.report["checks"]}
    assert 1500 < measures["context"]["effective_window"] < 2500


def test_the_window_of_a_model_is_learned_from_its_probe(tmp_path: Path) -> None:
    with serving(Endpoint("needle_lost")) as url:
        probed = probe(url, tmp_path, "--only", "context", "--repeats", "2")
    behaviour = fit_behaviour(probed.state)
    assert 1500 < behaviour.windows[MODEL].tokens < 4000


def test_the_prompt_and_the_answer_stay_out_of_the_log(tmp_path: Path) -> None:
    with serving(Endpoint()) as url:
        probed = probe(url, tmp_path, "--only", "context", "--only", "tool_round_trip")
    text = _text_of(log_dir(probed.state) / "segments")
    assert "Remember: the code" not in text
    assert "quartz" not in text


def test_a_refused_key_ends_in_one_line(tmp_path: Path) -> None:
    with serving(Endpoint()) as url:
        words = arguments(url, tmp_path, *PRICES)
        answer = CliRunner(env={"PROBE_KEY": "wrong-key"}).invoke(app, words)
    assert answer.exit_code == 1
    assert answer.output.count("\n") == 1
    assert "HTTP 401: invalid api key" in answer.output


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "no-url", "ftp://example.invalid", "http://[broken", ""]
)
def test_an_address_that_does_not_answer_ends_in_one_line(url: str, tmp_path: Path) -> None:
    probed = probe(url, tmp_path)
    assert probed.exit_code == 1
    assert probed.output.startswith("error: ")
    assert probed.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
