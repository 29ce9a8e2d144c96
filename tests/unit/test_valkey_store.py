"""The ledger on a server: restarts, kills, lost answers, and what it keeps apart."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ledger_stores import HOLD_S, NOW, account, bill, hold, valkey_process
from serving_process import wait_for
from valkey_server import DURABLE, ValkeyServer, free_port, shared_server, valkey_server

from router_serving.errors import LedgerError
from router_serving.ledger.types import (
    Account,
    Balance,
    Batch,
    Charge,
    Committed,
    Count,
    Grant,
    Switch,
)

DAY = account()
MOST = 2**53 - 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path) as running:
        yield running


def test_a_full_server_refuses_a_batch_as_a_whole(server: ValkeyServer) -> None:
    a = valkey_process(server)
    a.lease(DAY, 60)
    server.configure("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.configure("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(LedgerError, match=r"OutOfMemory|OOM"):
        a.lease(DAY, 10)
    server.configure("CONFIG", "SET", "maxmemory", "0")
    assert a.balance(DAY) == Balance(leased=60)
    assert a.lease(DAY, 10) == 10


def test_a_node_of_a_cluster_keeps_all_of_a_ledger(tmp_path: Path) -> None:
    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with valkey_server(tmp_path, *DURABLE, *cluster) as server:
        a = valkey_process(server)
        with pytest.raises(LedgerError, match="CLUSTERDOWN"):
            a.say()
        server.configure("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_for(lambda: "cluster_state:ok" in server.told("CLUSTER", "INFO"))
        assert a.reserve("d", Charge(DAY, 20)).kept == ()
        assert a.balance(DAY) == Balance(held=20)
        assert a.store.claim("notice", until_s=4e9)


def test_scripts_are_sent_again_when_the_server_forgot_them(server: ValkeyServer) -> None:
    a = valkey_process(server)
    assert a.lease(DAY, 10) == 10
    server.configure("SCRIPT", "FLUSH")
    assert a.lease(DAY, 10) == 10
    server.configure("SCRIPT", "FLUSH")
    assert a.store.claim("notice", until_s=4e9)


def test_a_restarted_server_is_found_again_by_the_next_call(server: ValkeyServer) -> None:
    a = valkey_process(server)
    a.lease(DAY, 60)
    server.stop()
    with pytest.raises(LedgerError, match=server.address):
        a.balance(DAY)
    server.start()
    assert a.balance(DAY) == Balance(leased=60)
    server.stop()
    server.start()
    assert a.lease(DAY, 10) == 10


def test_nothing_that_was_answered_is_lost_when_the_server_is_killed(server: ValkeyServer) -> None:
    wide = account(cap=10**9)
    answered: dict[str, int] = {}

    def spend(name: str) -> None:
        a = valkey_process(server, name)
        for i in range(100_000):
            decision = f"{name}{i}"
            try:
                a.lease(wide, 7)
                a.say(holds=(hold(decision, Charge(wide, 7)),), bills=(bill(decision, 5),))
            except LedgerError:
                return
            answered[name] = i + 1

    threads = [threading.Thread(target=spend, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    killer = valkey_process(server, "killer")
    while killer.balance(wide).settled < 300:
        pass
    server.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    server.start()
    left = valkey_process(server, "later").balance(wide)
    # of each process one batch may have been carried out whose answer was lost
    n_answered = sum(answered.values())
    assert n_answered > 0
    assert 5 * n_answered <= left.settled <= 5 * (n_answered + len(threads))
    assert left.leased <= 7 * len(threads)
    assert left.held == 0


def test_a_server_that_stands_still_is_told_and_tried_again(server: ValkeyServer) -> None:
    a = valkey_process(server)
    a.lease(DAY, 10)
    batch = a.batch(grants=(Grant(account=DAY, amount=50),))
    server.send(signal.SIGSTOP)
    with pytest.raises(LedgerError, match=f"{server.address}.*Timeout"):
        a.store.commit(batch)
    with pytest.raises(LedgerError, match=server.address):
        a.store.commit(batch)
    server.send(signal.SIGCONT)
    # it may also carry out what it was sent before it stood still
    assert a.store.commit(batch).granted == (50,)
    assert a.balance(DAY) == Balance(leased=60)


def test_ledgers_under_two_prefixes_do_not_mix(server: ValkeyServer) -> None:
    places = {"": 60, "?prefix=staging": 50, "/1": 40, "/1?prefix=staging": 30}
    stores = {query: valkey_process(server, query=query) for query in places}
    for query, amount in places.items():
        assert stores[query].lease(DAY, amount) == amount
        stores[query].store.switch_on(Switch(subject=query or "all", reason="r", since_s=NOW))
        stores[query].say(counts=(Count(subject="all", minute=int(NOW // 60), calls=amount),))
        assert stores[query].store.claim("notice", until_s=4e9)
    for query, amount in places.items():
        assert stores[query].balance(DAY) == Balance(leased=amount)
        assert [switch.subject for switch in stores[query].store.switches()] == [query or "all"]
        assert stores[query].store.pace("all", now_s=NOW).calls == amount


def test_amounts_up_to_the_largest_stay_exact() -> None:
    a = valkey_process(shared_server(), query="?prefix=largest")
    wide = account(cap=MOST)
    assert a.lease(wide, MOST) == MOST
    a.say(returns=(Charge(wide, 1),))
    assert a.balance(wide) == Balance(leased=MOST - 1)
    a.say(holds=(hold("d", Charge(wide, 1), Charge(wide, MOST - 3)),))
    assert a.balance(wide) == Balance(held=MOST - 3, leased=2)
    assert a.lease(wide, 5) == 1
    a.say(bills=(bill("d", MOST - 4),))
    assert a.balance(wide) == Balance(settled=MOST - 4, leased=3)


def test_names_may_hold_any_character() -> None:
    a = valkey_process(shared_server(), name="a:{}\0é", query="?prefix=names")
    odd = Account(key='microusd|tenant:{a}"\n\0é|day', unit="microusd", cap=100, ends_s=NOW + 9)
    assert a.reserve("d:\0'}é", Charge(odd, 20)).kept == ()
    assert a.balance(odd) == Balance(held=20)


def test_many_decisions_go_in_one_batch() -> None:
    a = valkey_process(shared_server(), query="?prefix=many")
    wide = account(cap=10**9)
    a.lease(wide, 10**6)
    n = 3000
    holds = tuple(hold(f"d{i}", Charge(wide, 20), expires_s=NOW + 60) for i in range(n))
    answer = a.say(holds=holds, bills=tuple(bill(f"d{i}", 12) for i in range(0, n, 2)))
    assert len(answer.billed) == n // 2
    assert a.balance(wide) == Balance(settled=6 * n, held=10 * n, leased=10**6 - 20 * n)
    n_expired = sum(a.say(at=NOW + 61).n_expired for _ in range(10))
    assert n_expired == n // 2
    assert a.balance(wide) == Balance(settled=6 * n, leased=10**6 - 20 * n)


def test_a_large_batch_without_a_number_goes_in_parts_with_one_answer() -> None:
    a = valkey_process(shared_server(), query="?prefix=parts")
    wide, n = account(cap=10**9), 1700
    a.say(bills=(bill("d3", 12),), grants=(Grant(account=wide, amount=10**6),))
    held = tuple(hold(f"d{i}", Charge(wide, 20)) for i in range(n))
    batch = Batch(
        worker="a",
        now_s=NOW,
        hold_s=HOLD_S,
        returns=(Charge(wide, 10**6 - 20 * n),),
        holds=held,
        bills=tuple(bill(f"d{i}", 12) for i in range(n)),
        grants=(Grant(account=wide, amount=7),),
        counts=(Count(subject="all", minute=int(NOW // 60), calls=n),),
    )
    answer = a.store.commit(batch)
    assert answer.granted == (7,)
    assert [billed.decision_id for billed in answer.billed] == [*(f"d{i}" for i in range(n)), "d3"]
    assert [billed.status for billed in answer.billed[2:5]] == ["settled", "repeated", "settled"]
    assert a.balance(wide) == Balance(settled=12 * n, leased=7)
    assert a.store.pace("all", now_s=NOW).calls == n
    assert len(a.store.commit(batch).kept) == n


def test_a_large_batch_goes_on_where_it_was_interrupted(server: ValkeyServer) -> None:
    a, b = valkey_process(server), valkey_process(server, "b")
    wide, n = account(cap=10**9), 20_000
    a.lease(wide, 30 * n)
    batch = a.batch(
        holds=tuple(hold(f"d{i}", Charge(wide, 20)) for i in range(n)),
        returns=(Charge(wide, 10 * n),),
        grants=(Grant(account=wide, amount=7),),
    )
    failures: list[LedgerError] = []

    def insist() -> Committed:
        while True:
            try:
                return a.store.commit(batch)
            except LedgerError as error:
                failures.append(error)

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(insist)
        while b.balance(wide).held == 0:
            pass
        server.stop(signal.SIGKILL)
        wait_for(lambda: bool(failures))
        server.start()
    assert answer.result().granted == (7,)
    assert answer.result().kept == ()
    assert b.balance(wide) == Balance(held=20 * n, leased=7)


def test_old_accounts_go_with_what_is_leased_of_them() -> None:
    a = valkey_process(shared_server(), query="?prefix=old")
    minute = account("minute", unit="requests", ends_s=NOW + 60)
    a.lease(minute, 20)
    a.lease(DAY, 20)
    a.say(at=NOW + 119)
    assert a.balance(minute) == Balance(leased=20)
    a.say(at=NOW + 121, returns=(Charge(minute, 20),))
    assert a.balance(minute) == Balance()
    assert a.balance(DAY) == Balance(leased=20)
    assert (
        valkey_process(shared_server(), "b", query="?prefix=old").say(at=NOW + 5000).n_expired == 0
    )
    assert a.balance(minute) == a.balance(DAY) == Balance()


def test_a_notice_whose_answer_was_lost_is_still_claimed(server: ValkeyServer) -> None:
    a, b = valkey_process(server), valkey_process(server, "b")
    server.send(signal.SIGSTOP)
    with pytest.raises(LedgerError):
        a.store.claim("notice", until_s=4e9)
    server.send(signal.SIGCONT)
    first = b.store.claim("notice", until_s=4e9)
    # whether or not the lost claim was carried out, exactly one of them has it
    assert a.store.claim("notice", until_s=4e9) is not first
    assert not a.store.claim("notice", until_s=4e9)
