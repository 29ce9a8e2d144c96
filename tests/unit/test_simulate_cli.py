from pathlib import Path

import pytest
import typer
from log_samples import decision, write_log
from serving_process import requires_starter
from typer.testing import CliRunner

from router_data.simulate_cli import simulate_command
from router_data.store import Store

app = typer.Typer()
app.command()(simulate_command)
run = CliRunner().invoke


@requires_starter
def test_a_simulated_log_is_written_once_per_seed(tmp_path: Path) -> None:
    arguments = ["--state", str(tmp_path / "demo"), "--sessions", "3", "--exploration", "0.1"]
    first = run(app, arguments)
    assert first.exit_code == 0, first.output
    assert "simulated decisions in 3 sessions" in first.output
    with Store(tmp_path / "demo") as store:
        rows = store.query("select distinct tenant, exploration.share as share from decisions")
    assert rows == [{"tenant": "simulated-1", "share": 0.1}]
    again = run(app, arguments)
    assert again.exit_code == 1
    assert "simulated with seed 0, expected another seed" in again.output
    assert run(app, [*arguments, "--seed", "1"]).exit_code == 0


@requires_starter
def test_an_adoption_is_simulated_by_whole_sessions(tmp_path: Path) -> None:
    arguments = ["--state", str(tmp_path), "--sessions", "8", "--adoption", "0.5"]
    assert run(app, arguments).exit_code == 0
    with Store(tmp_path) as store:
        arms = store.query(
            'select "session", adoption.arm as arm, list(distinct model) as models, '
            "bool_and((policy = 'incumbent') = (shadow is not null)) as is_told "
            "from decisions group by all"
        )
    assert len(arms) == 8
    assert {row["arm"] for row in arms} == {"router", "incumbent"}
    kept = [row["models"] for row in arms if row["arm"] == "incumbent"]
    assert kept == [["claude-opus-4-6"]] * len(kept)
    assert all(row["is_told"] for row in arms)


@requires_starter
def test_observing_is_rehearsed_with_a_bill_of_every_call(tmp_path: Path) -> None:
    told = ["--state", str(tmp_path), "--sessions", "4", "--adoption", "observe", "--billed", "1"]
    assert run(app, told).exit_code == 0
    with Store(tmp_path) as store:
        (calls,) = store.query(
            "select count(*) as n, list(distinct adoption.arm) as arms from decisions"
        )
        (bills,) = store.query(
            "select count(cost_usd) as n, count(adequate) as n_judged from outcomes"
        )
    assert calls["arms"] == ["incumbent"]
    assert bills["n"] == calls["n"] > bills["n_judged"]


@requires_starter
def test_full_adoption_routes_every_session_as_without_the_option(tmp_path: Path) -> None:
    asked = ["--sessions", "1", "--adoption", "full", "--min-adequacy", "0.9", "--billed", "0"]
    assert run(app, ["--state", str(tmp_path), *asked]).exit_code == 0
    with Store(tmp_path) as store:
        rows = store.query("select distinct adoption, policy, min_adequacy from decisions")
        (bills,) = store.query("select count(cost_usd) as n from outcomes")
    assert [(row["adoption"], row["min_adequacy"]) for row in rows] == [(None, 0.9)]
    assert bills["n"] == 0


@pytest.mark.parametrize("adoption", ["some", "1.5", "nan"])
def test_an_adoption_that_the_service_would_not_know_is_refused(adoption: str) -> None:
    refused = run(app, ["--adoption", adoption])
    assert refused.exit_code == 2
    assert f"--adoption: got '{adoption}', expected observe, a share of" in refused.output


@requires_starter
def test_no_bar_is_drawn_where_stderr_is_no_terminal(tmp_path: Path) -> None:
    done = run(app, ["--state", str(tmp_path), "--sessions", "1"])
    assert (done.exit_code, done.stderr) == (0, "")


@requires_starter
def test_a_folder_with_other_rows_is_refused_unless_forced(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [decision()])
    arguments = ["--state", str(tmp_path), "--sessions", "1"]
    refused = run(app, arguments)
    assert refused.exit_code == 1
    assert "holds 1 decisions that are not simulated" in refused.output
    assert run(app, [*arguments, "--force"]).exit_code == 0


def test_a_gateway_log_needs_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = run(app, ["--sessions", "2", "--gateway-log", "log.jsonl"])
    assert written.exit_code == 0, written.output
    n_lines = len((tmp_path / "log.jsonl").read_bytes().splitlines())
    assert f"{n_lines} simulated calls written to log.jsonl" in written.output
    assert not (tmp_path / "demo").exists()


def test_a_floor_above_the_exploration_is_refused(tmp_path: Path) -> None:
    arguments = ["--state", str(tmp_path), "--exploration", "0.1", "--floor", "0.2"]
    refused = run(app, arguments)
    assert refused.exit_code == 2
    assert "expected at most --exploration" in refused.output
    assert list(tmp_path.iterdir()) == []
