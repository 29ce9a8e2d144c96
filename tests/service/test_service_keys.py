"""Keys over HTTP: who may do what, tenants kept apart, and nothing secret left anywhere."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from raw_http import connected, post, told
from serving_decisions import outcome
from serving_process import (
    CHAT,
    Server,
    command,
    environment,
    requires_starter,
    serving,
    wait_for,
)

from router_serving import keys_file
from router_serving.keys import SCOPES, Scope

pytestmark = [pytest.mark.service, requires_starter]

OPEN = ("/healthz", "/readyz")
TOLD_TO_ALL = {"status", "warnings", "versions"}
OF_ALL_TENANTS = ("/metrics", "/switches", "/switches/{subject}")
OF_ONE_TENANT = ("/portkey",)
SYSTEMONE = {
    "state": "Rename a variable",
    "questions": {"tier": {"type": "choice", "criteria": {"claude-haiku-4-5": "simple"}}},
}
# A call of each path that only lacks the right to be made; others are made without parameters.
CALLS: dict[str, dict[str, Any]] = {
    "/route": {"json": CHAT},
    "/authz/{path}": {"json": CHAT},
    "/outcomes": {"json": outcome(decision_id="of-the-matrix")},
    "/outcomes/wire": {"json": {"decision_id": "of-the-wire", "model": "m"}},
    "/v1/systemone": {"json": SYSTEMONE},
    "/portkey": {"json": {"eventType": "beforeRequestHook"}},
    "/spend": {"params": {"group_by": "session"}},
    "/switches/{subject}": {"json": {"reason": "a loop"}},
}
VALUES = {"path": "v1/chat/completions", "decision_id": "none", "subject": "tenant:nobody"}


def keys_command(state: Path, *arguments: str) -> str:
    """What `router-serve keys` says on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "router_serving", "keys", *arguments, "--state-dir", str(state)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def made_key(state: Path, tenant: str, *scopes: Scope) -> str:
    now = datetime.now(UTC)
    return keys_file.create(state / "keys.json", tenant=tenant, scopes=scopes, now=now).text


class Keyed:
    """A server with keys; `keys` by tenant and scope."""

    def __init__(self, server: Server, keys: dict[tuple[str, str], str]) -> None:
        self.server = server
        self.keys = keys

    def call(
        self, tenant: str, scope: str, method: str, path: str, **options: Any
    ) -> httpx.Response:
        headers = {"x-router-api-key": self.keys[tenant, scope], **options.pop("headers", {})}
        return self.server.http.request(method, path, headers=headers, **options)

    def routed(self, tenant: str, decision_id: str, /, **caller: str) -> dict[str, Any]:
        call = {"request": CHAT, "caller": {"decision_id": decision_id, **caller}}
        response = self.call(tenant, "route", "POST", "/route", json=call)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def reported(self, tenant: str, **fields: Any) -> dict[str, Any]:
        response = self.call(tenant, "outcomes", "POST", "/outcomes", json=outcome(**fields))
        assert response.status_code == 200, response.text
        accepted: dict[str, Any] = response.json()
        return accepted


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    state = tmp_path_factory.mktemp("keys") / "state"
    state.mkdir()
    keys: dict[tuple[str, str], str] = {
        (tenant, scope): made_key(state, tenant, scope)
        for tenant, scope in product(("acme", "other", "*"), SCOPES)
    }
    with serving(state) as running:
        yield Keyed(running, keys)


@pytest.fixture(scope="module")
def operations(keyed: Keyed) -> list[tuple[str, str, str]]:
    """Method, path and scope of every operation, as the service describes them."""
    described = keyed.call("*", "read", "GET", "/openapi.json").json()
    return [
        (method.upper(), path, next(iter(operation["security"][0].values()))[0])
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if path not in OPEN
    ] + [("GET", "/openapi.json", "read"), ("GET", "/docs", "read")]


def test_every_operation_asks_for_a_key(
    keyed: Keyed, operations: list[tuple[str, str, str]]
) -> None:
    assert len(operations) >= 9
    wrong = keyed.keys["acme", "admin"][:-1] + "x"
    sent: list[dict[str, str]] = [
        *({}, {"authorization": "Bearer sk-of-the-provider"}, {"x-router-api-key": wrong}),
        *({"authorization": f"Bearer {wrong}"}, {"x-router-key": "ci", "x-router-tenant": "acme"}),
    ]
    bodies = set()
    for (method, path, _), headers in product(operations, sent):
        response = keyed.server.http.request(
            method, path.format(**VALUES), headers=headers, **CALLS.get(path, {})
        )
        assert response.status_code == 401, (method, path, headers)
        assert response.headers["www-authenticate"] == "Bearer"
        bodies.add(response.text)
    assert len(bodies) == 1


def test_every_key_may_do_what_its_scope_and_tenant_say(
    keyed: Keyed, operations: list[tuple[str, str, str]]
) -> None:
    for (method, path, asked), (tenant, held) in product(operations, keyed.keys):
        url, call = path.format(**VALUES), CALLS.get(path, {})
        response = keyed.call(tenant, held, method, url, **call)
        shown = (method, path, tenant, held, response.text)
        closed = OF_ONE_TENANT if tenant == "*" else OF_ALL_TENANTS
        is_permitted = held in (asked, "admin") and path not in closed
        if not is_permitted:
            assert response.status_code == 403, shown
            continue
        assert response.status_code in (200, 404), shown
        assert (response.status_code == 404) == (path == "/decisions/{decision_id}"), shown
        for named in ("acme", "nobody", "*"):
            headers = {"x-router-tenant": named}
            status = keyed.call(tenant, held, method, url, headers=headers, **call).status_code
            assert (status == 403) == (tenant not in ("*", named)), (*shown, named)


@pytest.mark.parametrize("path", ["/route", "/authz/v1/messages", "/outcomes"])
def test_without_a_key_no_body_is_waited_for(keyed: Keyed, path: str) -> None:
    port = keyed.server.http.base_url.port
    assert port is not None
    head = post(b"", "expect: 100-continue", path=path)
    cut = head.replace(b"content-length: 0", b"content-length: 5000000")
    with connected(port) as connection:
        connection.sendall(cut)
        found = told(connection)
    assert found.statuses == (401,)
    assert b"100 Continue" not in found.received


def test_what_is_open_tells_the_versions_and_no_more(keyed: Keyed) -> None:
    http = keyed.server.http
    assert http.get("/healthz").json() == {"status": "ok"}
    for tenant, scope in [("acme", "read"), ("acme", "admin"), ("*", "route")]:
        assert {*keyed.call(tenant, scope, "GET", "/readyz").json()} <= TOLD_TO_ALL
    for headers in ({}, {"x-router-api-key": "wrong"}):
        response = http.get("/readyz", headers=headers)
        assert response.status_code == 200
        assert {*response.json()} <= TOLD_TO_ALL
    whole = keyed.call("*", "read", "GET", "/readyz").json()
    assert whole["keys"] == {"listed": 12, "last_error": None}
    assert {"log", "reload", "tenants", "rollout"} <= whole.keys()


def test_a_key_of_one_tenant_fills_in_what_the_caller_leaves_out(keyed: Keyed) -> None:
    keyed.routed("acme", "filled-in", user="kim")
    keyed.routed("acme", "named", key="ci", tenant="acme")
    keyed.routed("*", "of-a-gateway", tenant="acme")
    rows = keyed.server.rows('select decision_id, tenant, "key" from decisions')
    found = {row["decision_id"]: (row["tenant"], row["key"]) for row in rows}
    assert found["filled-in"] == ("acme", keyed.keys["acme", "route"][:11])
    assert found["named"] == ("acme", "ci")
    assert found["of-a-gateway"] == ("acme", None)
    for tenant in ("other", "default", ""):
        call = {"request": CHAT, "caller": {"tenant": tenant}}
        response = keyed.call("acme", "route", "POST", "/route", json=call)
        assert response.status_code == (403 if tenant else 422), tenant


def test_tenants_with_the_same_ids_do_not_meet(keyed: Keyed) -> None:
    # An outcome without a tenant went to whoever used the id last.
    keyed.routed("acme", "same", session="s-same", user="kim")
    other = {"model": "auto", "messages": [{"role": "user", "content": "Write a poem"}]}
    call = {"request": other, "caller": {"decision_id": "same", "session": "s-same"}}
    assert keyed.call("other", "route", "POST", "/route", json=call).status_code == 200

    assert keyed.reported("acme", decision_id="same", cost_usd=0.5)["unmatched"] == []
    for tenant, n_outcomes in (("acme", 1), ("other", 0)):
        explained = keyed.call(tenant, "read", "GET", "/decisions/same").json()
        assert explained["tenant"] == tenant
        assert len(explained["outcomes"]) == n_outcomes
    refused = keyed.call("*", "outcomes", "POST", "/outcomes", json=outcome(decision_id="same"))
    assert (refused.status_code, refused.json()["field"]) == (422, "x-router-tenant")
    named = keyed.call(
        *("*", "outcomes", "POST", "/outcomes"),
        headers={"x-router-tenant": "other"},
        json=outcome(decision_id="same", cost_usd=0.25),
    )
    assert named.json() == {"accepted": 1, "unmatched": []}
    rows = keyed.server.rows(
        "select tenant, cost_usd from outcomes where decision_id = 'same' order by tenant"
    )
    assert [tuple(row.values()) for row in rows] == [("acme", 0.5), ("other", 0.25)]


def test_nobody_names_two_tenants_at_once(keyed: Keyed) -> None:
    tenants = [("x-router-tenant", "acme"), ("x-router-tenant", "other")]
    for scope, method, path, body in (
        ("route", "POST", "/route", {"messages": [{"role": "user", "content": "hi"}]}),
        ("outcomes", "POST", "/outcomes", outcome(decision_id="twice")),
        ("read", "GET", "/spend?group_by=tenant", None),
    ):
        headers = [("x-router-api-key", keyed.keys["*", scope]), *tenants]
        answer = keyed.server.http.request(method, path, headers=headers, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, "x-router-tenant"), path


def test_what_belongs_to_another_tenant_looks_like_nothing(keyed: Keyed) -> None:
    keyed.routed("acme", "only-acmes", session="s-only")
    model = keyed.call("acme", "read", "GET", "/decisions/only-acmes").json()["model"]
    for decision_id in ("only-acmes", "nobodys-one"):
        accepted = keyed.reported("other", decision_id=decision_id, model=model, adequate=False)
        assert accepted == {"accepted": 1, "unmatched": [decision_id]}
        missing = keyed.call("other", "read", "GET", f"/decisions/{decision_id}")
        assert missing.status_code == 404
        assert missing.text.replace(decision_id, "ID") == (
            keyed.call("other", "read", "GET", "/decisions/ID").text
        )
    assert keyed.call("acme", "read", "GET", "/decisions/only-acmes").json()["outcomes"] == []
    assert keyed.reported("acme", decision_id="only-acmes")["unmatched"] == []
    rows = keyed.server.rows("select tenant from outcomes where decision_id = 'only-acmes'")
    assert sorted(row["tenant"] for row in rows) == ["acme", "other"]


def test_a_tenant_sees_its_own_spending(keyed: Keyed) -> None:
    keyed.routed("acme", "spent-1", session="s-spent", user="u-acme")
    keyed.routed("other", "spent-2", session="s-spent", user="u-other")

    def groups(tenant: str, /, **params: str) -> set[str | None]:
        response = keyed.call(tenant, "read", "GET", "/spend", params=params)
        assert response.status_code == 200, response.text
        return {group["group"] for group in response.json()["groups"]}

    assert groups("acme", group_by="tenant") == {"acme"}
    assert groups("other", group_by="tenant", tenant="other") == {"other"}
    assert "u-other" not in groups("acme", group_by="user")
    assert "s-spent" in groups("acme", group_by="session")
    assert {"acme", "other"} <= groups("*", group_by="tenant")
    assert groups("*", group_by="tenant", tenant="acme") == {"acme"}
    assert groups("*", group_by="tenant", tenant="nowhere") == set()
    own = {"group_by": "user", "tenant": "nobody"}
    assert keyed.call("acme", "read", "GET", "/spend", params=own).status_code == 403


def test_keys_are_taken_up_revoked_and_rotated_while_the_service_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(state, reload_poll_s="0.1") as server:

        def status(key: str = "") -> int:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return server.http.post("/route", json=CHAT, headers=headers).status_code

        assert status() == 200
        key = keys_command(state, "create", "--tenant", "acme", "--scopes", "route")
        wait_for(lambda: status() == 401)
        assert status(key) == 200
        new = keys_command(state, "rotate", key[:11], "--grace", "1h")
        wait_for(lambda: status(new) == 200)
        assert status(key) == 200
        last = keys_command(state, "rotate", new[:11], "--grace", "0s")
        wait_for(lambda: status(last) == 200)
        assert status(new) == 401
        keys_command(state, "revoke", last[:11])
        wait_for(lambda: status(last) == 401)
        # The last good key is gone: nobody may call, instead of everybody.
        assert status() == 401

        admin = made_key(state, "*", "admin")
        server.http.headers["x-router-api-key"] = admin
        wait_for(lambda: status(admin) == 200)
        content = (state / "keys.json").read_text()
        (state / "keys.json").write_text(content.replace('"scopes"', '"scope"'))
        refused = {"file": "keys.json", "result": "refused"}
        wait_for(lambda: server.metric("router_file_events_total", **refused) == 1)
        assert "scope" in server.http.get("/readyz").json()["keys"]["last_error"]
        assert status(admin) == 200
        (state / "keys.json").unlink()
        wait_for(lambda: server.metric("router_file_events_total", **refused) == 2)
        assert status(admin) == 200
        server.http.headers.pop("x-router-api-key")
        assert status() == 401


def test_a_bad_file_is_no_start_and_a_key_opens_other_hosts(tmp_path: Path) -> None:
    state = tmp_path / "state"
    arguments = command("--state-dir", str(state), "--host", "0.0.0.0")

    def refused() -> str:
        done = subprocess.run(
            arguments, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        return done.stderr

    assert "router-serve keys create" in refused()
    key = made_key(state, "acme", "route")
    with serving(state, "--host", "0.0.0.0") as server:
        assert server.process.stdout is not None
        server.stop()
        shown = server.process.stdout.read().decode()
        assert "keys      1 listed in" in shown
        assert "x-router-api-key" in shown
        assert key[12:] not in shown
    (state / "keys.json").write_text("[]")
    assert "keys.json: can't be used" in refused()


def test_another_server_opens_no_keyless_service_to_others(tmp_path: Path) -> None:
    # ROUTER_HOST says nothing of where uvicorn listens.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--factory", "--host", "0.0.0.0", "--port", str(port))
    started = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *options, "router_serving.app:create_app"],
        env=environment(state_dir=str(tmp_path)),
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200)
        assert httpx.get(f"http://127.0.0.1:{port}/models").status_code == 200
        for path in ("/models", "/route", "/readyz"):
            refused = httpx.get(f"http://{own_address()}:{port}{path}")
            assert refused.status_code == 403
            assert "ROUTER_ALLOW_KEYLESS" in refused.json()["detail"]
    finally:
        started.kill()
        started.wait(10)


def own_address() -> str:
    """An address of this machine that others may reach; the test is skipped without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no network")
        return str(probe.getsockname()[0])


MARKER = "plumbing-of-the-secret-project"


def disguised(report: dict[str, Any], key: str) -> list[str]:
    """Outcomes in whose text a key stands, escaped or in capitals."""
    texts = [report | {"error": key}, report | {"signals": {key: True}}]
    escaped = [json.dumps(text).replace("rk_", "rk\\u005f") for text in texts]
    return [*escaped, json.dumps(report | {"error": key.upper()})]


def everything_asked(server: Server, key: str, *, tenant: str) -> list[httpx.Response]:
    """Every endpoint in good and bad ways, with the key and the marker wherever they may stand."""
    http, chat = server.http, {"messages": [{"role": "user", "content": MARKER}]}
    caller = {"tenant": tenant, "decision_id": f"of-{tenant}"}
    system = {"system": MARKER, "max_tokens": 9, **chat}
    auth = {"x-router-api-key": key}
    report = outcome(decision_id=f"of-{tenant}")
    bad_bodies: list[Any] = [
        *({"request": MARKER}, {"messages": MARKER}, {"request": chat, "format": MARKER}),
        *({"request": chat, "policy": {"models": [MARKER, key]}}, {"request": chat, key: MARKER}),
        *({"request": chat, "caller": {name: key}} for name in ("key", "user", "session")),
        {"request": chat, "caller": {"key": [key]}},
        {"messages": [{"role": "user", "content": {MARKER: key}}]},
    ]
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/route?timing=1", {"json": {"request": chat, "caller": caller}}),
        ("POST", "/route", {"json": {"request": system, "caller": {"tenant": tenant}}}),
        ("POST", "/authz/v1/messages", {"json": system}),
        ("POST", f"/authz/{key}", {"json": chat}),
        *(("POST", "/route", {"json": body}) for body in bad_bodies),
        ("POST", "/route", {"content": f'{{"messages": "{MARKER} {key}'.encode()}),
        ("POST", "/route", {"json": chat, "headers": auth | {"x-router-key": key}}),
        ("POST", "/route", {"json": chat, "headers": auth | {"x-router-min-adequacy": key}}),
        ("POST", "/outcomes", {"json": report, "headers": auth | {"x-router-tenant": tenant}}),
        ("POST", "/outcomes", {"json": report | {"error": f"bad key {key}"}}),
        ("POST", "/outcomes", {"json": report | {key: MARKER}}),
        *(("POST", "/outcomes", {"content": text}) for text in disguised(report, key)),
        ("POST", "/route", {"json": chat, "headers": auth | {"x-session-id": key}}),
        *(("POST", "/route", {"json": chat | {n: key}}) for n in ("prompt_cache_key", "model")),
        *(("GET", path, {}) for path in (f"/decisions/of-{tenant}", f"/decisions/{key}")),
        *(("GET", path, {}) for path in ("/models", "/metrics", "/readyz", "/docs", f"/{key}")),
        *(("GET", f"/spend?group_by={name}", {}) for name in ("user", "key", "session", key)),
        *(("GET", path, {"headers": {"x-router-api-key": key + "x"}}) for path in ("/models",)),
        ("GET", "/models", {"headers": {"authorization": f"Bearer {key}"}}),
        ("PUT", f"/switches/key:acme%2F{key}", {"json": {"reason": "x"}}),
        ("DELETE", "/route", {}),
    ]
    return [
        http.request(method, path, **{"headers": auth, **options})
        for method, path, options in calls
    ]


def test_neither_keys_nor_prompts_are_left_anywhere(tmp_path: Path) -> None:
    state = tmp_path / "state"
    key = made_key(state, "*", "admin")
    secret = key[12:]
    with serving(state, log_text_tenants=json.dumps(["open"])) as server:
        responses = everything_asked(server, key, tenant="closed")
        assert {200, 400, 401, 404, 405, 422} <= {r.status_code for r in responses}
        assert server.stop() == 0
        assert server.process.stdout is not None
        shown = server.greeting + server.process.stdout.read().decode() + server.stderr.read_text()
    for response in responses:
        assert secret not in response.text, response.request.url.path
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"of-closed" in kept
    for text in (secret, MARKER):
        assert text not in shown
        assert text.encode().lower() not in kept.lower()
    # The same search finds what a tenant chose to have logged.
    with serving(state, log_text_tenants=json.dumps(["open"])) as server:
        everything_asked(server, key, tenant="open")
        server.stop()
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert MARKER.encode() in kept
    assert secret.encode() not in kept
