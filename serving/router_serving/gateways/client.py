"""A client of the router for Python gateways: it sends 2 kB of features in place of the body.

It needs this package's base dependencies and httpx (the extra `gateways`), nothing of the service.

    with RouterClient(GatewaySettings(url="http://router:8080", fallback="gpt-5.4-nano")) as router:
        choice = router.decide(body, caller=Caller(tenant="acme"))
        ...
        router.report(Outcome(decision_id=choice.decision_id, model=choice.model, adequate=True))
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from router_model.body import Body
from router_model.encoder import StaticEncoder
from router_model.types import Caller, Outcome, PolicyOverrides, WireFormat
from router_serving.gateways.encoder_copy import EncoderCopy
from router_serving.gateways.outcome_queue import OutcomeQueue
from router_serving.gateways.posting import AsyncPoster, Poster
from router_serving.gateways.question import SMALL_BYTES, Choice, Questions
from router_serving.gateways.settings import GatewaySettings

__all__ = ["AsyncRouterClient", "Choice", "FeatureSettings", "RouterClient"]

_ANYBODY: Final = Caller()
_NO_OVERRIDES: Final = PolicyOverrides()
_NO_HEADERS: Final[Mapping[str, str]] = {}
_PLAIN: Final = GatewaySettings()


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Whether features go in place of bodies, and where the encoder that they need comes from.

    Without an `artifact` folder the router is asked for its encoder (5 MB, in the background; whole
    bodies go meanwhile), and `cache_dir` keeps it over a restart. Bodies below `small_bytes` always
    go whole: their features are hardly smaller.
    """

    is_sent: bool = True
    artifact: Path | None = None
    cache_dir: Path | None = None
    small_bytes: int = SMALL_BYTES


_FEATURES: Final = FeatureSettings()


class _Parts(NamedTuple):
    """What both clients are made of."""

    questions: Questions
    encoder: EncoderCopy
    outcomes: OutcomeQueue


def _parts(settings: GatewaySettings, features: FeatureSettings) -> _Parts:
    own = None if features.artifact is None else StaticEncoder.load(features.artifact)
    encoder = EncoderCopy(settings, folder=features.cache_dir, encoder=own)
    if features.is_sent:
        encoder.current()  # begins to fetch it
    return _Parts(
        questions=Questions(
            settings, encoder, sends_features=features.is_sent, small_bytes=features.small_bytes
        ),
        encoder=encoder,
        outcomes=OutcomeQueue(settings),
    )


class RouterClient:
    """Asks one router; threads may share it."""

    def __init__(
        self, settings: GatewaySettings = _PLAIN, *, features: FeatureSettings = _FEATURES
    ) -> None:
        self._parts = _parts(settings, features)
        self._poster = Poster(settings)

    def decide(
        self,
        body: Body,
        *,
        caller: Caller = _ANYBODY,
        overrides: PolicyOverrides = _NO_OVERRIDES,
        wire_format: WireFormat | None = None,
        path: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Choice:
        """The model for a call, within the settings' `timeout_s`.

        `body` is the client's, as bytes, text or a dict; `path` the one that it called, `headers`
        its headers, of which only one that names its session is used. Raises RefusedError where
        the call must not be made; UnavailableError where there is no decision and no `fallback`;
        InvalidRequestError for a body that is no JSON.
        """
        steps = self._parts.questions.ask(
            body,
            caller=caller,
            overrides=overrides,
            wire_format=wire_format,
            path=path,
            headers=headers,
        )
        try:
            send = next(steps)
            while True:
                send = steps.send(self._poster.post(send))
        except StopIteration as done:
            choice: Choice = done.value
            return choice

    def report(self, outcome: Outcome, *, tenant: str | None = None) -> None:
        """Have an outcome sent, in the background and until the router has taken it."""
        self._parts.outcomes.put(outcome, tenant=tenant)

    def wait_for_features(self, timeout_s: float) -> bool:
        """Whether features can be sent, after waiting for the encoder so long at most."""
        return self._parts.encoder.wait(timeout_s)

    def close(self) -> None:
        """Send the outcomes that wait, and hang up."""
        self._parts.outcomes.close()
        self._poster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncRouterClient:
    """Asks one router from one event loop."""

    def __init__(
        self, settings: GatewaySettings = _PLAIN, *, features: FeatureSettings = _FEATURES
    ) -> None:
        self._parts = _parts(settings, features)
        self._poster = AsyncPoster(settings)

    async def decide(
        self,
        body: Body,
        *,
        caller: Caller = _ANYBODY,
        overrides: PolicyOverrides = _NO_OVERRIDES,
        wire_format: WireFormat | None = None,
        path: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Choice:
        """The model for a call; everything as in `RouterClient.decide`."""
        steps = self._parts.questions.ask(
            body,
            caller=caller,
            overrides=overrides,
            wire_format=wire_format,
            path=path,
            headers=headers,
        )
        try:
            send = next(steps)
            while True:
                send = steps.send(await self._poster.post(send))
        except StopIteration as done:
            choice: Choice = done.value
            return choice

    def report(self, outcome: Outcome, *, tenant: str | None = None) -> None:
        """Have an outcome sent, in the background and until the router has taken it."""
        self._parts.outcomes.put(outcome, tenant=tenant)

    async def wait_for_features(self, timeout_s: float) -> bool:
        """Whether features can be sent, after waiting for the encoder so long at most."""
        return await asyncio.to_thread(self._parts.encoder.wait, timeout_s)

    async def aclose(self) -> None:
        """Send the outcomes that wait, and hang up."""
        await asyncio.to_thread(self._parts.outcomes.close)
        await self._poster.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
