"""Single bits are flipped in each kind of file: no crash, and no altered row is believed."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from router_battery.real_rows import busy_log, written_rows
from router_battery.trial import Scale, Tried, Value, not_zero
from router_data.log import segment_paths
from router_data.manifest import read_manifest
from router_data.store import Store
from router_model.artifact import MANIFEST, STARTER
from router_model.catalog import Catalog, load_catalog
from router_model.errors import RouterError
from router_serving.artifact_check import verified
from router_serving.keys import KeysContent, load_keys, new_key
from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import Account, Batch, Bill, Charge, Grant, Hold
from router_serving.settings import Settings
from router_serving.tenants import load_tenants

TENANTS = """\
[default]
exploration = 0.05
usd_per_day = 50.0
[tenants.acme]
models = ["claude-haiku-4-5"]
timezone = "Europe/Berlin"
"""
# What a look at an altered file can come to.
REFUSED, SAME, OTHER, LEFT_OUT, CRASHED = "refused", "same", "other", "left out", "crashed"


def run(scale: Scale, folder: Path) -> Tried:
    """Flip, look, put back; each kind of file as its own reader reads it."""
    tally: dict[str, Counter[str]] = {}
    problems: list[str] = []
    for kind, look, paths, n in _targets(scale, folder):
        scale.say(kind)
        rng = random.Random(f"{scale.seed}/{kind}")
        tally[kind] = Counter()
        for _ in range(n):
            path = rng.choice(paths)
            with flipped(path, rng) as place:
                found = _found(look)
            tally[kind][found.partition(":")[0]] += 1
            if found.startswith(CRASHED):
                problems.append(f"{path.name}, {place}: {found}")
    seen: dict[str, Value] = {
        f"{kind}: {found}": count
        for kind, counts in tally.items()
        for found, count in sorted(counts.items())
    }
    believed = sum(tally[kind][OTHER] for kind in CHECKED)
    shown = problems[:: max(1, len(problems) // 5)]
    return Tried(
        tried={f"flips in {kind}": sum(counts.values()) for kind, counts in tally.items()},
        seen=seen,
        failed=[*shown, *not_zero(crashes=len(problems), altered_files_believed=believed)],
    )


# Files with checksums. The others are edited by hand (tenants, keys) or have none (the ledger).
CHECKED = ("segment", "parquet", "manifest of the log", "artifact")
Look = Callable[[], str]


def _targets(scale: Scale, folder: Path) -> Iterator[tuple[str, Look, list[Path], int]]:
    log = folder / "log"
    busy_log(log, written_rows(folder, seconds=1.0, seed=scale.seed)[: scale.of(200, 40)])
    expected = _rows(log)
    look = _log_look(log, expected)
    n = scale.of(400, 5)
    segments = [path for path in segment_paths(log) if _is_read(log, path)]
    yield "segment", look, segments, n
    yield "parquet", look, [log / file.path for file in read_manifest(log).files], n
    yield "manifest of the log", look, [log / "manifest.json"], n
    state = folder / "files"
    state.mkdir()
    settings = Settings(state_dir=state)
    yield "tenants", _tenants_look(settings), [state / "tenants.toml"], 4 * n
    yield "keys", _keys_look(settings), [state / "keys.json"], 4 * n
    yield "ledger", _ledger_look(state), [state / "ledger.sqlite"], n
    artifact = state / "artifact"
    shutil.copytree(STARTER, artifact)
    inside = sorted(path for path in artifact.iterdir() if path.name != MANIFEST)
    look = _artifact_look(artifact, settings)
    yield "artifact", look, inside, n
    yield "manifest of an unsigned artifact", look, [artifact / MANIFEST], n


@contextmanager
def flipped(path: Path, rng: random.Random) -> Iterator[str]:
    """One bit of a file, other than it was, while the block runs."""
    data = path.read_bytes()
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
    try:
        yield f"byte {at}, bit {bit}"
    finally:
        path.write_bytes(data)


def _found(look: Look) -> str:
    try:
        return look()
    except RouterError:
        return REFUSED
    except Exception as error:  # noqa: BLE001  # this is what is looked for
        return f"{CRASHED}: {type(error).__name__}: {error}"


def _rows(log: Path) -> set[bytes]:
    with Store(log) as store:
        return _told(store)


def _told(store: Store) -> set[bytes]:
    found = [store.query(f"select * from {kind}s") for kind in ("decision", "outcome")]
    # The order of columns is another where no file of a kind is left.
    return {msgspec.json.encode(row, order="sorted") for rows in found for row in rows}


def _is_read(log: Path, path: Path) -> bool:
    with Store(log) as store:
        _, read = store._listing()
    return path in read


def _log_look(log: Path, expected: set[bytes]) -> Look:
    def look() -> str:
        with Store(log, skip_damaged=True) as store:
            told = _told(store)
            if not told <= expected:
                return OTHER
            if told == expected:
                return SAME
            return LEFT_OUT if store.damage else "left out as torn"

    return look


def _tenants_look(settings: Settings) -> Look:
    path = settings.state_dir / "tenants.toml"
    path.write_text(TENANTS)
    catalog: Catalog = load_catalog(STARTER / "catalog.toml")
    expected = load_tenants(settings, catalog)
    return lambda: SAME if load_tenants(settings, catalog) == expected else OTHER


def _keys_look(settings: Settings) -> Look:
    made = [new_key(tenant=t, scopes=["route"], now=datetime.now(UTC)) for t in ("acme", "other")]
    content = msgspec.json.encode(KeysContent(keys=tuple(each.key for each in made)))
    (settings.state_dir / "keys.json").write_bytes(content)
    expected = load_keys(settings).known
    return lambda: SAME if load_keys(settings).known == expected else OTHER


def _artifact_look(artifact: Path, settings: Settings) -> Look:
    expected = verified(artifact, settings)
    return lambda: SAME if verified(artifact, settings) == expected else OTHER


def _ledger_look(state: Path) -> Look:
    keys = [f"microusd|tenant:t{number}|day|2100" for number in range(50)]
    path = state / "ledger.sqlite"
    store = SqliteStore(path)
    for number, key in enumerate(keys):
        account = Account(key=key, unit="microusd", cap=10**9, ends_s=4e9)
        charge = Charge(account, 1000 + number)
        hold = Hold(tenant="acme", decision_id=f"d{number}", charges=(charge,), expires_s=3.9e9)
        bill = Bill(
            tenant="acme", decision_id=f"d{number}", attempt=0,
            amounts={"microusd": 500 + number}, is_final=number % 2 == 0,
        )  # fmt: skip
        store.commit(_batch(grants=(Grant(account=account, amount=5000),)))
        store.commit(_batch(holds=(hold,)))
        store.commit(_batch(bills=(bill,)))
    expected = store.balances(keys)
    store.close()
    return lambda: SAME if _balances(path, keys) == expected else OTHER


def _batch(**parts: Any) -> Batch:
    return Batch(worker="battery", now_s=1.8e9, hold_s=1e9, **parts)


def _balances(path: Path, keys: list[str]) -> Mapping[str, Any]:
    store = SqliteStore(path)
    try:
        return store.balances(keys)
    finally:
        store.close()
