"""One question to the router, step by step and without a network: what to send, what it means.

Features are sent in place of the body where both sides agree on what makes them; where the router
needs the body it says so, and gets it in the same question.
"""

import time
from collections.abc import Generator, Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec
from msgspec import Raw, Struct, structs

from router_model import formats
from router_model.body import Body, body_bytes
from router_model.digest import pack
from router_model.encoder import StaticEncoder
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext
from router_model.session import session_of_headers
from router_model.types import Caller, PolicyOverrides, WireFormat
from router_serving.gateways.encoder_copy import EncoderCopy
from router_serving.gateways.errors import UnavailableError
from router_serving.gateways.exchange import Exchange, Reply
from router_serving.gateways.posting import Send
from router_serving.gateways.settings import GatewaySettings

WHOLE_S: Final = 60.0
"""How long a tenant's calls go whole after one whose features were not enough."""
SMALL_BYTES: Final = 4_096
"""Smaller bodies go whole: their features are hardly smaller."""
_MAX_TENANTS: Final = 1_000
_BUSY: Final = (502, 503, 504)
STATIC: Final = "static_fallback"


class Choice(Struct, frozen=True, kw_only=True):
    """The model for a call. `sent` says what the router was given: "features", "request", or "".

    Where it is "", the router was not asked or did not answer: the model is the client's own
    fallback, `policy` is "static_fallback", and `reason` says why.
    """

    decision_id: str
    model: str
    snapshot: str = ""
    provider: str = ""
    fallbacks: tuple[str, ...] = ()
    expected: Mapping[str, float | None] = {}
    propensity: float = 1.0
    policy: str = ""
    reason: str = ""
    excluded: Mapping[str, str] = {}
    versions: Mapping[str, str] = {}
    sent: str = ""


Steps = Generator[Send, Reply | UnavailableError, Choice]
_ONE_VALUE: Final = msgspec.json.Decoder(Raw)
_CHOICE: Final = msgspec.json.Decoder(Choice)
_encode = msgspec.json.Encoder().encode


class Questions:
    """Makes the questions of one client."""

    def __init__(
        self,
        settings: GatewaySettings,
        copy: EncoderCopy,
        *,
        sends_features: bool = True,
        small_bytes: int = SMALL_BYTES,
    ) -> None:
        self._settings = settings
        self._copy = copy
        self._sends_features = sends_features
        self._small_bytes = small_bytes
        self._exchange = Exchange(pause_s=settings.pause_s)
        self._whole_until: dict[str, float] = {}

    def ask(
        self,
        body: Body,
        *,
        caller: Caller,
        overrides: PolicyOverrides,
        wire_format: WireFormat | None,
        path: str | None,
        headers: Mapping[str, str],
    ) -> Steps:
        """The steps of one question; together they take no longer than `timeout_s`.

        All tries have one decision_id, so that they are one decision. Raises RefusedError, and
        UnavailableError where there is no fallback.
        """
        named = caller.session or session_of_headers(headers)
        caller = structs.replace(
            caller, decision_id=caller.decision_id or uuid4().hex, session=named
        )
        try:
            self._exchange.check_pause()
            return (yield from self._asked(body, caller, overrides, wire_format, path))
        except UnavailableError as error:
            return self._fallback(error, str(caller.decision_id))

    def _asked(
        self,
        body: Body,
        caller: Caller,
        overrides: PolicyOverrides,
        wire_format: WireFormat | None,
        path: str | None,
    ) -> Steps:
        until = time.monotonic() + self._settings.timeout_s
        # One value and no more: what follows it would be members of the envelope.
        raw = bytes(jsontext.decode(_ONE_VALUE, jsontext.check_body(body_bytes(body))))
        around = {"caller": _told(caller), "policy": _told(overrides)}
        features = self._features(raw, caller.tenant, wire_format, path)
        if features is not None:
            reply = yield from self._tried(_encode({"features": features, **around}), until)
            if not self._needs_body(reply, caller.tenant):
                return self._choice(reply, "features")
        told = {"request": Raw(raw), "format": wire_format, "path": path}
        whole = {name: value for name, value in told.items() if value is not None}
        reply = yield from self._tried(_encode({**whole, **around}), until)
        return self._choice(reply, "request")

    def _features(
        self, raw: bytes, tenant: str, wire_format: WireFormat | None, path: str | None
    ) -> Any:
        """The features of a body, None where it is to go whole."""
        if not self._sends_features or len(raw) < self._small_bytes:
            return None
        if time.monotonic() < self._whole_until.get(tenant, 0.0):
            return None
        encoder = self._copy.current()
        if encoder is None:
            return None
        try:
            return _packed(raw, encoder, wire_format, path)
        except InvalidRequestError:  # the router says what is wrong
            return None

    def _tried(
        self, content: bytes, until: float
    ) -> Generator[Send, Reply | UnavailableError, Reply]:
        """The reply to a content, asked for once more where the first try ends soon."""
        for is_last in (False, True):
            left = until - time.monotonic()
            if left <= 0.0:
                raise self._exchange.failed(UnavailableError("timeout", may_be_logged=True))
            reply = yield Send(content, left)
            if isinstance(reply, UnavailableError):
                if is_last or reply.reason == "timeout":
                    raise self._exchange.failed(reply)
            elif is_last or reply.status not in _BUSY:
                return reply
        raise AssertionError("unreachable")

    def _needs_body(self, reply: Reply, tenant: str) -> bool:
        """Whether the features were not enough; for a while the tenant's calls then go whole."""
        if reply.status not in (409, 422):
            return False
        problem = reply.members()
        field = str(problem.get("field", ""))
        if problem.get("code") != "body_needed" and not field.startswith("features"):
            return False
        if field == "features.encoder":
            self._copy.outdated()
        if len(self._whole_until) >= _MAX_TENANTS:
            self._whole_until.clear()
        self._whole_until[tenant] = time.monotonic() + WHOLE_S
        return True

    def _choice(self, reply: Reply, sent: str) -> Choice:
        return structs.replace(self._exchange.decision_in(reply, _CHOICE), sent=sent)

    def _fallback(self, error: UnavailableError, decision_id: str) -> Choice:
        if self._settings.fallback is None:
            raise error
        return Choice(
            decision_id=decision_id,
            model=self._settings.fallback,
            policy=STATIC,
            reason=str(error),
        )


def _packed(
    raw: bytes, encoder: StaticEncoder, wire_format: WireFormat | None, path: str | None
) -> Any:
    wanted = wire_format or (formats.format_of_path(path) if path else None)
    named = wanted or formats.detect(raw)
    request = formats.parse(raw, wire_format=named, path=path)
    return pack(request, encoder=encoder, wire_format=named)


def _told(struct: Struct) -> Mapping[str, Any]:
    """The members that say something."""
    return {name: value for name, value in structs.asdict(struct).items() if value is not None}
