"""Kill switches and alerts of the real service: its command line, its workers, its webhook."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_process import CHAT, Server, environment, requires_starter, serving, wait_for
from webhook_receiver import Receiver, receiving

from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import Batch, Count

pytestmark = [pytest.mark.service, requires_starter]

WEEK_S = 7 * 86_400


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with receiving() as found:
        yield found


def ask(server: Server, **caller: str) -> httpx.Response:
    """One call on a connection of its own, so that any worker may get it."""
    with httpx.Client(base_url=server.http.base_url, timeout=30) as http:
        return http.post("/route", json={"request": CHAT, "caller": caller})


def switch(state: Path, *arguments: str) -> str:
    """What `router-serve switch` says."""
    done = subprocess.run(
        [sys.executable, "-m", "router_serving", "switch", *arguments, "--state-dir", str(state)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_stopped(server: Server, *, n_calls: int = 12, **caller: str) -> bool:
    """True when every one of many calls is refused, whichever worker gets it."""
    return {ask(server, **caller).status_code for _ in range(n_calls)} == {429}


def is_served(server: Server, *, n_calls: int = 12, **caller: str) -> bool:
    return {ask(server, **caller).status_code for _ in range(n_calls)} == {200}


def test_a_switch_stops_one_tenant_in_every_worker_and_after_a_restart(
    tmp_path: Path, receiver: Receiver
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    settings: dict[str, Any] = {"workers": "2", "webhook_url": receiver.url}
    with serving(state, **settings) as server:
        assert is_served(server, tenant="acme")
        assert "tenant:acme is stopped" in switch(
            state, "on", "tenant:acme", "--reason", "a loop in the nightly job"
        )
        wait_for(lambda: is_stopped(server, tenant="acme"))
        assert is_served(server, tenant="other")
        refused = ask(server, tenant="acme")
        problem = refused.json()
        assert problem["code"] == "limit_exceeded"
        assert problem["limit"] == "kill_switch"
        assert problem["detail"] == "tenant:acme is stopped: a loop in the nightly job"
        assert refused.headers["retry-after"] == "60"
        wait_for(lambda: receiver.kinds() == ["switch.on"])
        assert receiver.url not in server.greeting + server.stderr.read_text()
    with serving(state, **settings) as server:
        assert is_stopped(server, tenant="acme")
        assert "a loop in the nightly job" in switch(state, "list")
        switch(state, "off", "tenant:acme")
        wait_for(lambda: is_served(server, tenant="acme"))
        wait_for(lambda: receiver.kinds() == ["switch.on", "switch.off"])
        assert "secret-token" not in server.stderr.read_text()


def test_the_api_switches_a_key_off_and_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with serving(state) as server:
        path = "/switches/key:acme/ci%252Fnightly"
        answer = server.http.put(path, json={"reason": "leaked"})
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert (shown["subject"], shown["reason"]) == ("key:acme/ci%2Fnightly", "leaked")
        assert server.http.get("/switches").json() == {"switches": [shown]}
        assert is_stopped(server, n_calls=1, tenant="acme", key="ci/nightly")
        assert is_served(server, n_calls=1, tenant="acme", key="ci")
        assert is_served(server, n_calls=1, tenant="acme")
        expected = {"subject": "key:acme/ci%2Fnightly", "was_on": True}
        assert server.http.delete(path).json() == expected
        assert server.http.delete(path).json() == expected | {"was_on": False}
        assert server.http.get("/switches").json() == {"switches": []}
        assert is_served(server, n_calls=1, tenant="acme", key="ci/nightly")


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/switches/acme", b'{"reason": "r"}', 422, "subject"),
        ("/switches/tenant:", b'{"reason": "r"}', 422, "subject"),
        ("/switches/all", b"{", 400, "body"),
        ("/switches/all", b"[]", 422, "body"),
        ("/switches/all", b"{}", 422, "reason"),
        ("/switches/all", b'{"reason": 5}', 422, "reason"),
        ("/switches/all", b'{"reason": " "}', 422, "reason"),
        ("/switches/all", b'{"reason": "r", "until": 5}', 422, "until"),
        ("/switches/all", b'{"reason": "a\\nb"}', 422, "reason"),
    ],
)
def test_a_switch_that_is_not_understood_stops_nobody(
    idle: Server, path: str, body: bytes, status: int, field: str
) -> None:
    answer = idle.http.put(path, content=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert idle.http.get("/switches").json() == {"switches": []}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("idle") / "state"
    state.mkdir()
    with serving(state) as server:
        yield server


def made_key(state: Path, tenant: str, scopes: str) -> dict[str, str]:
    """The header of a new key."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "router_serving", "keys", "create"),
            *("--tenant", tenant, "--scopes", scopes, "--state-dir", str(state)),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return {"x-router-api-key": done.stdout.strip()}


def test_only_an_admin_of_any_tenant_may_switch(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    admin = made_key(state, "*", "admin")
    own_admin, caller = made_key(state, "acme", "admin"), made_key(state, "acme", "route,read")
    with serving(state) as server:
        for headers, status in (({}, 401), (caller, 403), (own_admin, 403), (admin, 200)):
            for method, path in (
                ("GET", "/switches"),
                ("PUT", "/switches/tenant:acme"),
                ("DELETE", "/switches/tenant:acme"),
            ):
                body = {"reason": "r"} if method == "PUT" else None
                answer = server.http.request(method, path, json=body, headers=headers)
                assert answer.status_code == status, (method, headers, answer.text)
        server.http.put("/switches/tenant:acme", json={"reason": "r"}, headers=admin)
        stopped = server.http.post("/route", json={"request": CHAT}, headers=caller)
        assert stopped.status_code == 429


def test_a_leap_of_calls_is_posted_once_by_two_workers(tmp_path: Path, receiver: Receiver) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with_history(state, "tenant:acme", calls_per_minute=2)
    settings: dict[str, Any] = {"workers": "2", "webhook_url": receiver.url}
    with serving(state, **settings) as server:
        assert is_served(server, n_calls=80, tenant="acme")
        wait_for(lambda: len(receiver.bodies) > 0)
        time.sleep(6)  # both workers look every 5 s
        assert server.metric("router_notices_total", kind="calls.anomaly") == 1
        assert server.metric("router_pace_calls_ratio", of="highest_tenant") > 10
    assert receiver.kinds() == ["calls.anomaly"]
    (body,) = receiver.bodies
    assert body["subject"] == "tenant:acme"
    assert body["calls_last_minute"] >= 30
    assert body["usual_calls_per_minute"] == 2.0


def with_history(state: Path, subject: str, *, calls_per_minute: int) -> None:
    """Four earlier weeks with so many calls in this hour and the next."""
    store = SqliteStore(state / "ledger.sqlite")
    for week in range(4, 0, -1):
        at = time.time() // 3600 * 3600 - week * WEEK_S
        counts = tuple(
            Count(subject=subject, minute=int(at // 60) + minute, calls=calls_per_minute)
            for minute in range(120)
        )
        store.commit(Batch(worker="earlier", now_s=at, hold_s=1.0, counts=counts))
    store.close()
