"""Asks a router which model is to answer, within a time, and stops asking one that is away."""

import logging
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from router_model.types import WireFormat
from router_serving.gateways.errors import UnavailableError
from router_serving.gateways.exchange import Exchange, Reply
from router_serving.gateways.posting import AsyncPoster, Send
from router_serving.gateways.settings import GatewaySettings

FORGET_UNKNOWN_S: Final = 60.0
"""How long a name that the router does not know is left out: its catalog may change."""
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


class Asker:
    """Asks one router; it belongs to one event loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._timeout_s = settings.timeout_s
        self._poster = AsyncPoster(settings)
        self._exchange = Exchange(pause_s=settings.pause_s)
        self._unknown: dict[str, float] = {}

    async def ask(self, asking: Asking) -> Decided:
        """The decision; RefusedError where the router says no, UnavailableError without one."""
        self._exchange.check_pause()
        until = time.monotonic() + self._timeout_s
        reply = await self._posted(asking, until)
        if reply.status == 422 and self._learn_unknown(reply):
            reply = await self._posted(asking, until)
        return self._exchange.decision_in(reply, _DECIDED)

    async def aclose(self) -> None:
        """Hang up."""
        await self._poster.aclose()

    async def _posted(self, asking: Asking, until: float) -> Reply:
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
        reply = await self._poster.post(Send(_encode(envelope), until - now, asking.headers))
        if isinstance(reply, UnavailableError):
            raise self._exchange.failed(reply)
        return reply

    def _learn_unknown(self, reply: Reply) -> bool:
        """Whether the refusal was for names that the router does not know; they are left out."""
        try:
            unknown = _PROBLEM.decode(reply.content).unknown
        except msgspec.MsgspecError:
            return False
        if new := sorted(set(unknown) - self._unknown.keys()):
            _log.warning("router.unknown_models %s", ", ".join(new))
        until = time.monotonic() + FORGET_UNKNOWN_S
        self._unknown |= dict.fromkeys(unknown, until)
        return bool(unknown)
