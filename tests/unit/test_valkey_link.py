"""The way to the server of a shared ledger: what is refused there, and what is told of it."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_stores import Process, account, valkey_process
from valkey_server import DURABLE, ValkeyServer, valkey_server

from router_serving.errors import LedgerError
from router_serving.ledger.valkey_link import address_of
from router_serving.ledger.valkey_store import ValkeyStore

DAY = account()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--appendonly", "no"), "got appendonly no; expected yes"),
        (
            ("--appendonly", "yes", "--appendfsync", "everysec"),
            "got appendfsync everysec; expected always",
        ),
        (
            (*DURABLE, "--no-appendfsync-on-rewrite", "yes"),
            "got no-appendfsync-on-rewrite yes; expected no",
        ),
        (
            (*DURABLE, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"),
            "got maxmemory-policy allkeys-lru; expected noeviction",
        ),
        ((*DURABLE, "--requirepass", "right"), "Authentication"),
    ],
)
def test_a_server_that_may_lose_writes_is_refused(
    tmp_path: Path, options: tuple[str, ...], fault: str
) -> None:
    with valkey_server(tmp_path, *options) as server:
        with pytest.raises(LedgerError, match=fault) as refused:
            ValkeyStore(server.url)
        assert server.address in str(refused.value)


def test_a_server_with_a_limit_that_evicts_nothing_is_taken(tmp_path: Path) -> None:
    limit = ("--maxmemory", "100mb", "--maxmemory-policy", "noeviction")
    with valkey_server(tmp_path, *DURABLE, *limit) as server:
        assert valkey_process(server).lease(DAY, 60) == 60


def test_a_replica_is_refused(server: ValkeyServer, tmp_path: Path) -> None:
    folder = tmp_path / "replica"
    folder.mkdir()
    primary = ("--replicaof", "127.0.0.1", str(server.port))
    with (
        valkey_server(folder, *DURABLE, *primary) as replica,
        pytest.raises(LedgerError, match="got a replica"),
    ):
        ValkeyStore(replica.url)


def test_a_primary_that_became_a_replica_is_refused(server: ValkeyServer) -> None:
    a = valkey_process(server)
    a.lease(DAY, 60)
    server.configure("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(LedgerError, match=r"ReadOnly|READONLY"):
        a.lease(DAY, 10)
    with pytest.raises(LedgerError, match="got a replica"):
        a.lease(DAY, 10)
    server.configure("REPLICAOF", "NO", "ONE")
    assert a.lease(DAY, 10) == 10


def test_a_server_without_its_settings_is_only_taken_on_trust(tmp_path: Path) -> None:
    hidden = ("--rename-command", "CONFIG", "")
    with valkey_server(tmp_path, *DURABLE, *hidden) as server:
        with pytest.raises(LedgerError, match=r"CONFIG GET is refused.*ledger_trust_durability"):
            ValkeyStore(server.url)
        a = Process(lambda: ValkeyStore(server.url, trust_durability=True), "a")
        assert a.lease(DAY, 60) == 60


def test_trust_does_not_excuse_what_a_server_shows(tmp_path: Path) -> None:
    with (
        valkey_server(tmp_path, "--appendonly", "no") as server,
        pytest.raises(LedgerError, match="got appendonly no"),
    ):
        ValkeyStore(server.url, trust_durability=True)


def test_a_password_opens_the_ledger_and_is_never_told(tmp_path: Path) -> None:
    with valkey_server(tmp_path, *DURABLE, "--requirepass", "right") as server:
        with pytest.raises(LedgerError) as refused:
            ValkeyStore(f"valkey://:Wr0ng@{server.address}")
        told = str(refused.value)
        assert server.address in told
        assert "Wr0ng" not in told
        store = ValkeyStore(f"redis://:right@{server.address}")
        server.stop()
        with pytest.raises(LedgerError) as gone:
            store.switches()
        assert "right" not in str(gone.value)


def test_an_address_where_nothing_listens_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(LedgerError, match=address):
            ValkeyStore(f"valkey://{address}")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://secret@h", "scheme 'http'"),
        ("valkey://", "expected valkey://"),
        ("valkey://:secret@h:port", "not an address"),
        ("valkey://:secret@h/ledger", "database 'ledger'"),
        ("valkey://:secret@h?socket_timeout=99", "got socket_timeout"),
        ("valkey://:secret@h?prefix=%7Ba%7D", "prefix '{a}'"),
        ("valkey://:secret@h?prefix", "not an address"),
    ],
)
def test_an_address_that_is_wrong_is_told_without_its_password(url: str, fault: str) -> None:
    with pytest.raises(LedgerError, match=fault) as refused:
        address_of(url)
    assert "ledger_url" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_missing_client_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkey", None)
    with pytest.raises(LedgerError, match=r"the extra \[shared\]"):
        ValkeyStore("valkey://127.0.0.1:1")


def test_a_server_that_came_back_less_durable_is_refused(server: ValkeyServer) -> None:
    a = valkey_process(server)
    server.stop()
    with pytest.raises(LedgerError):
        a.say()
    server.start()
    server.configure("CONFIG", "SET", "appendfsync", "everysec")
    with pytest.raises(LedgerError, match="got appendfsync everysec"):
        a.say()
