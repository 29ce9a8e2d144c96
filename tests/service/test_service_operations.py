"""What operators rely on: readiness, draining, rollback, signatures, traces, worker metrics."""

import os
import resource
import shlex
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from otlp_receiver import receiving
from serving_process import (
    CHAT,
    Server,
    copied_artifact,
    requires_starter,
    serving,
    wait_for,
)
from signing_keys import key_pair
from valkey_server import valkey_server

from router_model.signature import sign

pytestmark = [pytest.mark.service, requires_starter]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
CAPPED = "[default]\nusd_per_day = 5.0\n"


def status(server: Server) -> tuple[int, str]:
    answer = server.http.get("/readyz")
    content = answer.json()
    return answer.status_code, content.get("detail") or content["status"]


def warnings(server: Server) -> list[str]:
    found: list[str] = server.http.get("/readyz").json()["warnings"]
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_told_to_end_is_not_ready_but_answers_for_a_while(
    tmp_path: Path, workers: str
) -> None:
    with serving(tmp_path / "state", "--workers", workers, drain_s="5") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{server.http.base_url}/readyz").status_code == 503)
        refused = httpx.get(f"{server.http.base_url}/readyz").json()
        assert refused["code"] == "not_ready"
        assert "stopping" in refused["detail"]
        answer = httpx.post(f"{server.http.base_url}/route", json=CHAT)
        assert answer.status_code == 200
        assert server.process.wait(60) == 0
        rows = server.rows("from decisions")
        assert [row["decision_id"] for row in rows] == [answer.json()["decision_id"]]


def test_a_log_that_can_not_be_written_is_amiss_and_callers_may_stay(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        pid = server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        assert server.http.post("/route", json=CHAT).status_code == 200
        wait_for(lambda: "log: can't be" in " ".join(warnings(server)))
        assert status(server) == (200, "degraded")
        assert server.http.post("/route", json=CHAT).status_code == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        wait_for(lambda: status(server) == (200, "ready"))
        wait_for(lambda: server.metric("router_log_rows_total", kind="decision") == 2)


def test_without_its_ledger_a_server_with_hard_caps_is_not_ready(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tenants.toml").write_text(CAPPED)
    (tmp_path / "valkey").mkdir()
    with (
        valkey_server(tmp_path / "valkey") as ledger,
        serving(state, ledger_url=ledger.url) as server,
    ):
        assert server.http.post("/route", json=CHAT).status_code == 200
        ledger.stop()
        server.http.post("/route", json=CHAT)
        wait_for(lambda: status(server)[0] == 503)
        assert "ledger" in status(server)[1]
        ledger.start()
        wait_for(lambda: status(server) == (200, "ready"))


def test_only_signed_artifacts_are_taken_while_it_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    private, public = key_pair(tmp_path)
    with serving(state, artifact_public_key=str(public), reload_poll_s="0.2") as server:
        version = copied_artifact(state / "artifact", note="unsigned")
        wait_for(lambda: server.metric("router_reloads_total", result="refused") == 1)
        assert "manifest.sig" in server.http.get("/readyz").json()["reload"]["last_error"]
        sign(state / "artifact", private)
        wait_for(lambda: server.http.get("/readyz").json()["versions"]["artifact"] == version)
        copied_artifact(state / "challenger", note="other")
        (state / "rollout.json").write_text('{"mode": "shadow", "artifact": "challenger"}')
        wait_for(lambda: server.http.get("/readyz").json()["rollout"]["mode"] == "refused")


def test_a_rollback_by_a_link_is_taken_while_it_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    first = copied_artifact(state / "artifact.v1.0", note="first")
    second = copied_artifact(state / "artifact.v2.0", note="second")
    (state / "artifact").symlink_to("artifact.v2.0")
    with serving(state, reload_poll_s="0.2") as server:

        def version() -> str:
            return str(server.http.get("/readyz").json()["versions"]["artifact"])

        assert version() == second
        command = "ln -s artifact.v1.0 {0}/.artifact.link && mv -T {0}/.artifact.link {0}/artifact"
        subprocess.run(command.format(shlex.quote(str(state))), shell=True, check=True)
        wait_for(lambda: version() == first)


def test_a_trace_is_followed_into_lines_answers_and_spans_without_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a-word-that-only-the-prompt-holds"
    body = {"messages": [{"role": "user", "content": secret}]}
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with serving(tmp_path / "state", log_level="debug") as server:
            answer = server.http.post("/route", json=body, headers={"traceparent": PARENT})
            outcome = {"decision_id": answer.json()["decision_id"], "model": answer.json()["model"]}
            assert server.http.post("/outcomes", json=outcome).status_code == 200
            wait_for(lambda: len(receiver.spans) == 2)
            assert server.stop() == 0
        named = {span.name: index for index, span in enumerate(receiver.spans)}
        route = receiver.attributes(named["POST /route"])
        assert receiver.spans[named["POST /route"]].trace_id.hex() == TRACE_ID
        assert answer.headers["traceparent"].split("-")[1] == TRACE_ID
        assert route["router.model"] == answer.json()["model"]
        assert route["router.decision_id"] == answer.json()["decision_id"]
        assert route["router.decide_us"] > 0
        assert secret.encode() not in receiver.raw
        assert secret not in server.stderr.read_text()


def test_a_collector_that_refuses_costs_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(status=500) as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        with serving(tmp_path / "state") as server:
            for _ in range(20):
                assert server.http.post("/route", json=CHAT).status_code == 200
            assert server.stop() == 0


def test_a_worker_that_died_leaves_its_counts_and_takes_its_gauges(tmp_path: Path) -> None:
    with serving(tmp_path / "state", "--workers", "2") as server:
        wait_for(lambda: server.metric("router_workers") == 2)
        for _ in range(30):
            assert httpx.post(f"{server.http.base_url}/route", json=CHAT).status_code == 200

        def counted() -> float:
            text = httpx.get(f"{server.http.base_url}/metrics").text
            return sum(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith("router_decisions_total")
            )

        wait_for(lambda: counted() == 30)
        os.kill(workers_of(server)[0], signal.SIGKILL)
        wait_for(lambda: len(workers_of(server)) == 2 and _started(server) == 3)
        wait_for(lambda: httpx.get(f"{server.http.base_url}/metrics").status_code == 200)
        text = httpx.get(f"{server.http.base_url}/metrics").text
        assert "router_workers 2.0" in text
        assert counted() == 30


def workers_of(server: Server) -> list[int]:
    """The processes that serve."""
    listed = subprocess.run(
        ["pgrep", "--parent", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in listed.stdout.split()]


def _started(server: Server) -> int:
    return server.stderr.read_text().count("service.started")


def is_served(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "state", "--workers", "2") as server:
        port = server.http.base_url.port
        server.process.kill()
        server.process.wait(30)
        wait_for(lambda: not is_served(port or 0))
    with serving(tmp_path / "state", "--port", str(port)) as again:
        assert again.http.get("/readyz").status_code == 200
