"""Opens the ledger that the settings name: the service, its command line and every test alike."""

from typing import Final

from router_serving.ledger.types import LedgerStore
from router_serving.settings import Settings

LEDGER_FILE: Final = "ledger.sqlite"


def open_store(settings: Settings) -> LedgerStore:
    """The file of one machine, or the server at ROUTER_LEDGER_URL that several share.

    Raises LedgerError where it can't be opened.
    """
    if settings.ledger_url is None:
        from router_serving.ledger.sqlite_store import SqliteStore

        return SqliteStore(settings.state_dir / LEDGER_FILE)
    from router_serving.ledger.valkey_store import ValkeyStore

    return ValkeyStore(
        settings.ledger_url.get_secret_value(), trust_durability=settings.ledger_trust_durability
    )


def place_of(settings: Settings) -> str:
    """Where the ledger lies, in words: an address may hold a password, and is not shown."""
    if settings.ledger_url is None:
        return str((settings.state_dir / LEDGER_FILE).absolute())
    return "the ledger of ROUTER_LEDGER_URL"
