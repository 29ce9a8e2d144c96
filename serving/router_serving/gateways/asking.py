"""Asks a router which model is to answer, within a time, and stops asking one that is away."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec
from msgspec import Raw, Struct

from router_model.types import WireFormat
from router_serving.gateways.errors import RefusedError, UnavailableError
from router_serving.gateways.settings import GatewaySettings

MAX_FAILURES: Final = 3
"""Failures in a row after which the router is left alone for a while."""
FORGET_UNKNOWN_S: Final = 60.0
"""How long a name that the router does not know is left out: its catalog may change."""
_REFUSALS: Final = ("no_admissible_model", "limit_exceeded")
_LIMITS: Final = httpx.Limits(max_connections=500, max_keepalive_connections=100)
_PASSED_ON: Final = ("retry-after", "x-should-retry")
_log = logging.getLogger(__name__)


class Asking(Struct, frozen=True, kw_only=True):
    """One question: the client's body as it is, who calls, and the models that may answer."""

    body: bytes
    wire_format: WireFormat
    caller: Mapping[str, str]
    models: tuple[str, ...]
    headers: Mapping[str, str]


class Decided(Struct, frozen=True, kw_only=True):
    """The part of the answer that a gateway needs; other members are ignored."""

    decision_id: str
    model: str
    fallbacks: tuple[str, ...] = ()


class _Problem(Struct, frozen=True):
    """The part of a problem document that says which models are unknown."""

    unknown: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_DECIDED: Final = msgspec.json.Decoder(Decided)
_PROBLEM: Final = msgspec.json.Decoder(_Problem)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Any])


class Asker:
    """Asks one router; it belongs to one event loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._http: httpx.AsyncClient | None = None
        self._n_failures = 0
        self._paused_until = 0.0
        self._unknown: dict[str, float] = {}

    async def ask(self, asking: Asking) -> Decided:
        """The decision; RefusedError where the router says no, UnavailableError without one."""
        self._check_pause()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._asked(asking)
        except TimeoutError:
            raise self._failed(UnavailableError("timeout", may_be_logged=True)) from None
        except httpx.ConnectError:
            raise self._failed(UnavailableError("connect")) from None
        except httpx.HTTPError as error:
            name = type(error).__name__
            raise self._failed(UnavailableError(name, may_be_logged=True)) from None

    async def _asked(self, asking: Asking) -> Decided:
        response = await self._post(asking)
        if response.status_code == 422 and self._learn_unknown(response):
            response = await self._post(asking)
        if response.status_code >= 500:
            raise self._failed(UnavailableError(f"status_{response.status_code}"))
        self._answered()
        if response.status_code == 200:
            return _decided(response.content)
        problem = _members(response.content)
        if (code := problem.get("code")) in _REFUSALS:
            headers = {name: response.headers.get(name) for name in _PASSED_ON}
            told = {name: value for name, value in headers.items() if value is not None}
            raise RefusedError(response.status_code, problem, headers=told)
        _log.error("router.refused status=%d code=%.100s", response.status_code, code)
        raise UnavailableError(f"status_{response.status_code}")

    async def _post(self, asking: Asking) -> httpx.Response:
        now = time.monotonic()
        models = [name for name in asking.models if self._unknown.get(name, 0.0) <= now]
        if not models:
            raise UnavailableError("no_known_model")
        envelope = {
            "request": Raw(asking.body),
            "format": asking.wire_format,
            "caller": asking.caller,
            "policy": {"models": models},
        }
        if self._http is None:
            self._http = httpx.AsyncClient(
                base_url=self._settings.url,
                headers=self._settings.headers,
                timeout=self._settings.timeout_s,
                limits=_LIMITS,
                trust_env=False,
            )
        return await self._http.post("/route", content=_encode(envelope), headers=asking.headers)

    def _learn_unknown(self, response: httpx.Response) -> bool:
        """Whether the refusal was for names that the router does not know; they are left out."""
        try:
            unknown = _PROBLEM.decode(response.content).unknown
        except msgspec.MsgspecError:
            return False
        if new := sorted(set(unknown) - self._unknown.keys()):
            _log.warning("router.unknown_models %s", ", ".join(new))
        until = time.monotonic() + FORGET_UNKNOWN_S
        self._unknown |= dict.fromkeys(unknown, until)
        return bool(unknown)

    def _check_pause(self) -> None:
        """Raise while the router is left alone; the first call afterwards is the one that tries."""
        if self._n_failures < MAX_FAILURES:
            return
        now = time.monotonic()
        if now < self._paused_until:
            raise UnavailableError("paused")
        self._paused_until = now + self._settings.pause_s

    def _answered(self) -> None:
        if self._n_failures:
            _log.warning("router.back after=%d", self._n_failures)
        self._n_failures = 0

    def _failed(self, error: UnavailableError) -> UnavailableError:
        self._n_failures += 1
        if self._n_failures <= MAX_FAILURES:
            _log.warning("router.unavailable reason=%s", error.reason)
        self._paused_until = time.monotonic() + self._settings.pause_s
        return error


def _decided(content: bytes) -> Decided:
    try:
        return _DECIDED.decode(content)
    except msgspec.MsgspecError:
        raise UnavailableError("odd_answer") from None


def _members(content: bytes) -> Mapping[str, Any]:
    try:
        return _MEMBERS.decode(content)
    except msgspec.MsgspecError:
        return {}
