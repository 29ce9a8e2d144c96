"""Settings of tenants over HTTP: contracts, pins, exploration, and files that can't be used."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from serving_process import CHAT, Server, command, environment, requires_starter, serving, wait_for

pytestmark = [pytest.mark.service, requires_starter]

TENANTS = """
[default]
alpha = 0.05
delta = 0.1
[tenants.bold]
exploration = 0.3
exploration_floor = 0.1
[tenants.poor]
exploration = 0.3
exploration_budget_usd_per_day = 0.0
[tenants.small]
models = ["gpt-oss-120b"]
exploration = 0.3
"""


def routed(server: Server, tenant: str, **call: Any) -> dict[str, Any]:
    caller = {"tenant": tenant, "session": "s1"}
    response = server.http.post("/route", json={"request": CHAT, "caller": caller, **call})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def explained(server: Server, decision_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = server.http.get(f"/decisions/{decision_id}").json()
    return answer


def test_every_tenant_is_served_on_its_own_terms(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tenants.toml").write_text(TENANTS)
    with serving(state, min_adequacy="0.2") as server:
        # The starter certifies no contract: the highest p, and it is said.
        plain = explained(server, routed(server, "anybody")["decision_id"])
        assert plain["reason"] == "no_certified_contract_highest_p"
        assert plain["contract"] == "contract: abstains"
        assert plain["exploration"]["off"] == "not_set"
        own = explained(
            server, routed(server, "anybody", policy={"min_adequacy": 0})["decision_id"]
        )
        assert (own["min_adequacy"], own["contract"]) == (0.0, "request")
        assert own["overrides"]["min_adequacy"] == 0.0

        models = [
            routed(server, "bold", policy={"min_adequacy": 0.5, "models": listed})
            for listed in [["claude-haiku-4-5", "gpt-6-luna", "gpt-5.4", "kimi-k3.1-pro"]] * 60
        ]
        for answer in models:
            assert answer["propensity"] >= 0.1
        assert server.metric("router_explorations_total", state="on") + server.metric(
            "router_explorations_total", state="no_near_tie"
        ) >= len(models)

        poor = explained(server, routed(server, "poor", policy={"min_adequacy": 0})["decision_id"])
        assert poor["exploration"]["off"] in ("budget_spent", "no_near_tie")
        assert poor["exploration"]["budget_left_usd"] == 0.0

        pinned = routed(server, "small")
        assert pinned["model"] == "gpt-oss-120b"
        assert explained(server, pinned["decision_id"])["exploration"]["off"] == "pinned"
        refused = server.http.post(
            "/route",
            json={
                "request": CHAT,
                "caller": {"tenant": "small"},
                "policy": {"models": ["gpt-5.4"]},
            },
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "no_admissible_model")


def test_a_changed_file_is_picked_up_and_a_bad_one_leaves_the_old(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(state, reload_poll_s="0.1") as server:
        file = state / "tenants.toml"
        file.write_text('[tenants.acme]\nmodels = ["gpt-oss-120b"]\n')
        wait_for(lambda: routed(server, "acme")["model"] == "gpt-oss-120b")
        file.write_text('[tenants.acme]\nmodells = ["gpt-5.4"]\n')
        wait_for(
            lambda: (
                server.metric("router_file_events_total", file="tenants.toml", result="refused")
                == 1
            )
        )
        said = server.http.get("/readyz").json()["tenants"]["last_error"]
        assert "tenants.acme.modells: unknown key, allowed: alpha" in said
        assert routed(server, "acme")["model"] == "gpt-oss-120b"
        file.write_text('[tenants.acme]\nmodels = ["gpt-5.4"]\n')
        wait_for(lambda: routed(server, "acme")["model"] == "gpt-5.4")
        assert server.http.get("/readyz").json()["tenants"]["last_error"] is None
        assert "tenants.refused" in server.stderr.read_text()


def test_a_bad_file_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "tenants.toml").write_text("[default]\nalpha = 7\n")
    done = subprocess.run(
        command("--state-dir", str(tmp_path)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "default.alpha: got 7" in done.stderr


def test_a_decision_id_reused_with_other_limits_is_refused_after_a_restart(tmp_path: Path) -> None:
    # The limits were not logged: after a restart any were answered.
    call = {"request": CHAT, "caller": {"decision_id": "d1"}, "policy": {"min_adequacy": 0.4}}
    with serving(tmp_path / "state") as server:
        before = server.http.post("/route", json=call)
        assert before.status_code == 200
        server.stop()
    with serving(tmp_path / "state") as server:
        assert server.http.post("/route", json=call).content == before.content
        for policy in ({"min_adequacy": 0.5}, {}, {"min_adequacy": 0.4, "models": ["gpt-5.4"]}):
            response = server.http.post("/route", json={**call, "policy": policy})
            assert response.status_code == 409, policy
            assert response.json()["code"] == "decision_id_reused"


def test_the_last_drift_report_stands_in_the_metrics(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(state) as server:
        assert "router_drift" not in server.http.get("/metrics").text
        (state / "drift.json").write_text('{"psi_max": 0.3, "alarm": true}')
        assert server.metric("router_drift_psi_max") == 0.3
        assert server.metric("router_drift_alarm") == 1.0
        (state / "drift.json").write_text("{")
        assert server.metric("router_drift_psi_max") == 0.0
        assert server.metric("router_file_events_total", file="drift.json", result="refused") == 1.0
