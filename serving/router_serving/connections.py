"""The connections of one process: how many there may be, and which one makes room for another."""

import time
from collections import OrderedDict
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from router_serving.settings import Settings

MAX_REFUSED: Final = 256
"""Connections beyond the limit that are told so; any further one is closed without a word."""
RAW_BYTES_EACH: Final = 2
"""Bytes on the wire for each byte of the largest body: sizes of chunks, and what trails them."""
RAW_BYTES_MORE: Final = 64 * 1024
EVICTABLE_S: Final = 1.0
"""How long a connection has to be quiet before it is closed to make room for another."""


class Connection(Protocol):
    """A connection, as far as it is counted here."""

    def close(self) -> None:
        """Close it; `Connections.gone` is told when that is done."""


class Connections:
    """Admits connections, and counts what became of them."""

    def __init__(self, settings: Settings, *, registry: CollectorRegistry) -> None:
        self.head_timeout_s = settings.header_timeout_s
        self.body_timeout_s = settings.body_timeout_s
        self.max_raw_bytes = RAW_BYTES_EACH * settings.max_body_bytes + RAW_BYTES_MORE
        self.limit = settings.max_connections
        self._admitted: set[Connection] = set()
        self._refused: set[Connection] = set()
        self._quiet: OrderedDict[Connection, float] = OrderedDict()
        self._open = Gauge(
            "router_connections",
            "Connections that are open",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._closed = Counter(
            "router_connections_closed",
            "Connections closed by the service before their caller was done, by cause",
            ["cause"],
            registry=registry,
        )

    @property
    def is_crowded(self) -> bool:
        """True when even those that were refused are too many."""
        return len(self._refused) > MAX_REFUSED

    def admit(self, connection: Connection) -> bool:
        """True when there is room, which the longest quiet connection may have to make."""
        if len(self._admitted) >= self.limit and not self._evict():
            self._refused.add(connection)
            self.closed("over_limit")
            return False
        self._admitted.add(connection)
        self._open.inc()
        self.quiet(connection)
        return True

    def quiet(self, connection: Connection) -> None:
        """Nothing is asked on this connection from now on."""
        self._quiet[connection] = time.monotonic()

    def busy(self, connection: Connection) -> None:
        """A call has come on this connection."""
        self._quiet.pop(connection, None)

    def closed(self, cause: str) -> None:
        """Count a connection that the service closes for this cause."""
        self._closed.labels(cause).inc()

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        self._quiet.pop(connection, None)
        self._refused.discard(connection)
        if connection in self._admitted:
            self._admitted.remove(connection)
            self._open.dec()

    def _evict(self) -> bool:
        """Close the connection that has been quiet for longest, unless that is not long."""
        longest, since_s = next(iter(self._quiet.items()), (None, 0.0))
        if longest is None or time.monotonic() - since_s < EVICTABLE_S:
            return False
        self.closed("evicted")
        self.gone(longest)
        longest.close()
        return True
