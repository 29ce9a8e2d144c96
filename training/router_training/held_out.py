"""The part of a log that a version was not trained on, which is what it may be judged by.

That is the test part of its run, by the keys that the run kept, and whatever was decided after
the latest decision that the run had seen.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.dataset import load_rounds
from router_data.logged import LoggedDecisions, load_logged
from router_data.rewards import AdequacyRule
from router_data.rounds import Rounds
from router_model.errors import DatasetError
from router_training.catalog_in_use import current_catalog

FILE = "held_out.json"


class HeldOutKeys(Struct, frozen=True, kw_only=True):
    """(tenant, decision_id) of a run's test part, and the time of the latest decision it saw."""

    seen_until_ms: int
    keys: tuple[tuple[str, str], ...]


class HeldOut(Struct, frozen=True, kw_only=True):
    """Held-out contexts, and those of them that are live decisions (None when there is none)."""

    rounds: Rounds
    logged: LoggedDecisions | None


def held_out_keys(rounds: Rounds, test: NDArray[np.bool_]) -> HeldOutKeys:
    """The keys of the contexts in the test part."""
    pairs = zip(rounds.tenant[test].tolist(), rounds.decision_id[test].tolist(), strict=True)
    return HeldOutKeys(seen_until_ms=int(rounds.ts_ms.max()), keys=tuple(pairs))


def write_keys(keys: HeldOutKeys, folder: Path) -> Path:
    """Write the keys into an existing folder; returns the file."""
    path = folder / FILE
    path.write_bytes(msgspec.json.encode(keys))
    return path


def read_keys(path: Path) -> HeldOutKeys:
    """The keys of a file; DatasetError when it can't be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=HeldOutKeys)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise DatasetError(f"{path}: can't be read: {error}") from error


def held_out_of(rounds: Rounds, logged: LoggedDecisions | None, keys: HeldOutKeys) -> HeldOut:
    """What of these was held out; `logged` None stays None."""
    wanted = set(keys.keys)

    def mask(tenants: Iterable[str], ids: Iterable[str]) -> NDArray[np.bool_]:
        return np.array([pair in wanted for pair in zip(tenants, ids, strict=True)], dtype=bool)

    is_new = rounds.ts_ms > keys.seen_until_ms
    part = rounds.select(is_new | mask(rounds.tenant.tolist(), rounds.decision_id.tolist()))
    live = logged
    if logged is not None:
        is_live = mask(logged.tenant.tolist(), logged.decision_id.tolist())
        live = logged.select(is_live | (logged.ts_ms > keys.seen_until_ms))
    return HeldOut(rounds=part, logged=live if live is not None and live.n else None)


def load_held_out(state: Path, keys: HeldOutKeys, *, rule: AdequacyRule, encoder: str) -> HeldOut:
    """What of the log as it is now was held out; DatasetError when nothing was."""
    rounds = load_rounds(state, rule=rule, encoder=encoder)
    try:
        logged = load_logged(state, rule=rule, encoder=encoder, catalog=current_catalog(state))
    except DatasetError:
        logged = None
    found = held_out_of(rounds, logged, keys)
    if not found.rounds.n_contexts:
        raise DatasetError(f"{state}: nothing in the log was held out of the challenger's training")
    return found
