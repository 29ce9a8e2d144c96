"""The way to a Valkey or Redis server: what goes wrong there is a LedgerError that names it.

The server has to keep every write it confirms, so it must sync each one to its disk and evict
nothing. That is looked at before the first call, and again after every failure, because another
server may answer then. What no setting shows: a failover to a replica loses the writes that had
not reached it, so money may be spent twice after one.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from router_model.extras import missing_packages
from router_serving.errors import LedgerError

T = TypeVar("T")

CONNECT_S: Final = 1.0
READ_S: Final = 2.0
DEFAULT_PREFIX: Final = "router-ledger"
DEFAULT_PORT: Final = 6379
_SCHEMES: Final = ("valkey", "valkeys", "redis", "rediss")
_EXPECTED: Final = "valkey://, valkeys://, redis:// or rediss:// [user:password@]host[:port][/db]"
_TLS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
# Each setting of the server, and the one value with which it keeps what it confirmed.
_REQUIRED: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
}
_KEEPS_ALL: Final = "noeviction"


class Client(Protocol):
    """What is used of valkey.Valkey, which types most of its answers for asyncio too."""

    def execute_command(self, *words: str | bytes | int) -> Any:
        """The answer to one command."""

    def pipeline(self, transaction: bool) -> Any:
        """Collects commands, and sends them at once."""

    def close(self) -> None:
        """Give back the connections."""


class Address(Struct, frozen=True):
    """Where the ledger is: `url` for the client, `shown` (without password) for people.

    `prefix` sets ledgers in one database apart.
    """

    url: str
    shown: str
    prefix: str


def address_of(url: str) -> Address:
    """The parts of valkey://[user:password@]host[:port][/db][?prefix=name]; LedgerError if wrong.

    >>> address = address_of("redis://:secret@cache.example/2?prefix=staging")
    >>> address.url, address.shown, address.prefix
    ('redis://:secret@cache.example/2', 'cache.example:6379', 'staging')
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORT
        query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:  # its message may hold the password
        raise LedgerError(f"ledger_url: not an address; expected {_EXPECTED}") from None
    prefix, database = query.pop("prefix", DEFAULT_PREFIX), parts.path.strip("/")
    if parts.scheme not in _SCHEMES or not host:
        raise LedgerError(f"ledger_url: got scheme {parts.scheme!r}; expected {_EXPECTED}")
    if database and not (database.isascii() and database.isdigit()):
        raise LedgerError(f"ledger_url: got database {database!r}; expected a number")
    if not prefix.isprintable() or not prefix or set(prefix) & set("{}"):
        raise LedgerError(f"ledger_url: got prefix {prefix!r}; expected a name without braces")
    if unknown := sorted(query.keys() - _TLS):
        allowed = ", ".join(["prefix", *sorted(_TLS)])
        raise LedgerError(f"ledger_url: got {', '.join(unknown)}; expected any of {allowed}")
    rest = urlunsplit(parts._replace(query=urlencode(query), fragment=""))
    return Address(rest, f"{host}:{port}", prefix)


class _BrokenError(LedgerError):
    """The connection could not be made, or broke; a new one may do."""


class ValkeyLink:
    """Calls to one server; each raises LedgerError when it fails, and the next one tries again.

    `trust_durability` goes on where the server does not show its settings.
    """

    def __init__(self, address: Address, *, trust_durability: bool = False) -> None:
        self._shown = address.shown
        self._trusts = trust_durability
        self._is_checked = False
        self._client = _client(address)

    def call(self, ask: Callable[[Client], T], *, is_repeatable: bool = True) -> T:
        """What `ask` returns, asked once the server is known to be durable.

        What may be done twice is asked again where the connection broke, but not after a timeout.
        """
        if not self._is_checked:
            self.check()
        try:
            return self._guarded(ask)
        except _BrokenError:
            if not is_repeatable:
                raise
        self.check()
        return self._guarded(ask)

    def check(self) -> None:
        """LedgerError unless the server is a primary that keeps what it confirms."""
        self._guarded(self._check_role)
        self._guarded(self._check_settings)
        self._is_checked = True

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _guarded(self, ask: Callable[[Client], T]) -> T:
        from valkey.exceptions import ConnectionError as NoConnectionError
        from valkey.exceptions import ValkeyError

        try:
            return ask(self._client)
        except (ValkeyError, OSError) as error:
            self._is_checked = False
            raised = _BrokenError if isinstance(error, NoConnectionError) else LedgerError
            kind = type(error).__name__
            raise raised(f"ledger {self._shown}: {kind}: {error}") from error

    def _check_role(self, client: Client) -> None:
        from valkey.exceptions import ResponseError

        try:
            role = client.execute_command("INFO", "replication")["role"]
        except ResponseError as error:
            self._distrust(f"INFO is refused ({error})")
            return
        if role != "master":
            raise LedgerError(f"ledger {self._shown}: got a replica (role {role}); expected master")

    def _check_settings(self, client: Client) -> None:
        from valkey.exceptions import ResponseError

        try:
            settings = {name: _setting(client, name) for name in _REQUIRED}
            settings["maxmemory"] = _setting(client, "maxmemory")
            settings["maxmemory-policy"] = _setting(client, "maxmemory-policy")
        except ResponseError as error:
            self._distrust(f"CONFIG GET is refused ({error})")
            return
        if hidden := [name for name in _REQUIRED if settings[name] is None]:
            self._distrust(f"CONFIG GET does not show {', '.join(hidden)}")
        for fault in _faults(settings):
            raise LedgerError(f"ledger {self._shown}: {fault}")

    def _distrust(self, why: str) -> None:
        if not self._trusts:
            raise LedgerError(
                f"ledger {self._shown}: {why}, so it can't be seen whether writes are kept; "
                "expected a server that shows its settings, or ledger_trust_durability"
            )


def _client(address: Address) -> Client:
    """A client that connects at its first call."""
    if find_spec("valkey") is None:
        raise LedgerError(missing_packages("ledger_url", extra="shared", names=["valkey"]))
    from valkey import Valkey

    client: Client = Valkey.from_url(
        address.url, socket_connect_timeout=CONNECT_S, socket_timeout=READ_S
    )
    return client


def _setting(client: Client, name: str) -> str | None:
    """A setting's value; None where the server has no such setting, or does not show it."""
    value = client.execute_command("CONFIG GET", name).get(name)
    return None if value is None else str(value)


def _faults(settings: Mapping[str, str | None]) -> list[str]:
    """What of a server's settings would lose confirmed writes.

    >>> _faults({"appendonly": "yes", "appendfsync": "everysec", "maxmemory": "0"})
    ['got appendfsync everysec; expected always']
    """
    faults = [
        f"got {name} {settings[name]}; expected {value}"
        for name, value in _REQUIRED.items()
        if settings.get(name) not in (None, value)
    ]
    policy = settings.get("maxmemory-policy")
    if settings.get("maxmemory") not in (None, "0") and policy != _KEEPS_ALL:
        faults.append(f"got maxmemory-policy {policy}; expected {_KEEPS_ALL}")
    return faults
