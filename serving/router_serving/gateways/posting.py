"""Posts to the router; what the network does is told by the replies, not raised."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx
from msgspec import Struct

from router_serving.gateways.errors import UnavailableError
from router_serving.gateways.exchange import Reply
from router_serving.gateways.settings import GatewaySettings

_LIMITS: Final = httpx.Limits(max_connections=500, max_keepalive_connections=100)
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Send(Struct, frozen=True):
    """What to post to `/route` now, how long its answer may take, and headers beside the usual."""

    content: bytes
    timeout_s: float
    headers: Mapping[str, str] = _NO_HEADERS


class Poster:
    """Posts from any thread; the time counts for each piece of an answer anew."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._http = httpx.Client(**_options(settings))

    def post(self, send: Send) -> Reply | UnavailableError:
        """The reply, or why there is none."""
        try:
            response = self._http.post(
                "/route", content=send.content, headers=send.headers, timeout=send.timeout_s
            )
        except httpx.HTTPError as error:
            return lost(error)
        return Reply(response.status_code, response.content, response.headers)

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class AsyncPoster:
    """Posts from one event loop, each within its time."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._http = httpx.AsyncClient(**_options(settings))

    async def post(self, send: Send) -> Reply | UnavailableError:
        """The reply, or why there is none."""
        try:
            async with asyncio.timeout(send.timeout_s):
                response = await self._http.post(
                    "/route", content=send.content, headers=send.headers, timeout=None
                )
        except TimeoutError:
            return UnavailableError("timeout", may_be_logged=True)
        except httpx.HTTPError as error:
            return lost(error)
        return Reply(response.status_code, response.content, response.headers)

    async def aclose(self) -> None:
        """Hang up."""
        await self._http.aclose()


def lost(error: httpx.HTTPError) -> UnavailableError:
    """What an error of the network means.

    >>> lost(httpx.ReadTimeout("slow")).reason, lost(httpx.ConnectError("gone")).reason
    ('timeout', 'connect')
    """
    if isinstance(error, httpx.TimeoutException):
        return UnavailableError("timeout", may_be_logged=True)
    if isinstance(error, httpx.ConnectError):
        return UnavailableError("connect")
    return UnavailableError(type(error).__name__, may_be_logged=True)


def _options(settings: GatewaySettings) -> dict[str, Any]:
    return {
        "base_url": settings.url,
        "headers": settings.headers,
        "limits": _LIMITS,
        "trust_env": False,
    }
