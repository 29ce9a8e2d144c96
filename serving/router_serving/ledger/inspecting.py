"""Looks at the ledger that the settings name, without making or changing it."""

import sqlite3
from contextlib import closing
from typing import Literal

from router_serving.errors import LedgerError
from router_serving.ledger.opening import LEDGER_FILE, open_store, place_of
from router_serving.ledger.sqlite_store import SCHEMA
from router_serving.settings import Settings


def inspected_ledger(settings: Settings) -> tuple[Literal["OK", "WARN"], str]:
    """What there is to say of the ledger; LedgerError where it can't be used."""
    if settings.ledger_url is not None:
        return _shared(settings)
    path = settings.state_dir / LEDGER_FILE
    if not path.is_file():
        return "OK", f"{path} will be made"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            (schema,) = file.execute("pragma user_version").fetchone()
            (verdict,) = file.execute("pragma quick_check(1)").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerError(f"{path}: {error}") from error
    if verdict != "ok":
        raise LedgerError(f"{path}: damaged: {verdict}")
    if schema > SCHEMA:
        raise LedgerError(f"{path}: schema {schema}, expected at most {SCHEMA}")
    return "OK", f"{path}, schema {schema}"


def _shared(settings: Settings) -> tuple[Literal["OK", "WARN"], str]:
    with closing(open_store(settings)) as store:
        store.switches()  # the first call looks at the server's role and durability
    if settings.ledger_trust_durability:
        return "WARN", f"{place_of(settings)} answers; its durability is taken on trust"
    return "OK", f"{place_of(settings)} answers, is a primary, and syncs each write"
