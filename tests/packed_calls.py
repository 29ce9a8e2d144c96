"""The same calls both ways: with their whole body, and with the features that a client makes."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from served_engine import Served

from router_model import formats
from router_model.digest import pack
from router_model.router import Router
from router_model.types import WireFormat
from router_serving.recent import RouteAnswer

Json = dict[str, Any]


def packed(
    body: bytes,
    router: Router,
    *,
    wire_format: WireFormat | None = None,
    path: str | None = None,
    **changes: Any,
) -> Json:
    """The features of a body, with `changes`."""
    request = formats.parse(body, wire_format=wire_format, path=path)
    named = wire_format or (formats.format_of_path(path) if path else None)
    made = pack(request, encoder=router.encoder, wire_format=named or formats.detect(body))
    told: Json = msgspec.json.decode(msgspec.json.encode(made))
    return told | changes


class BothWays:
    """Two engines with one router: one gets the bodies, the other what a client makes of them."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.whole, self.short = Served(router), Served(router)
        self.sizes: list[tuple[int, int]] = []

    def sent(
        self,
        body: Mapping[str, Any] | bytes,
        *,
        headers: Mapping[str, str] | None = None,
        path: str | None = None,
        **around: Any,
    ) -> RouteAnswer:
        """The answer to both, which is the same one; `around` are members of the envelope."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"path": path} if path else {}
        of_body = msgspec.json.encode({"request": msgspec.Raw(raw), **told, **around})
        of_features = msgspec.json.encode(
            {"features": packed(raw, self.router, path=path), **around}
        )
        self.sizes.append((len(of_body), len(of_features)))
        answer = self.whole.sent(of_body, headers).answer
        assert self.short.sent(of_features, headers).answer == answer
        return answer

    def rows(self) -> list[Json]:
        """What both logged, which is the same but for clocks; nothing can be asked afterwards."""
        rows = [timeless(row) for row in self.whole.rows()]
        assert [timeless(row) for row in self.short.rows()] == rows
        return rows


def timeless(row: Mapping[str, Any]) -> Json:
    """A row without what clocks put into it."""
    content: Json = msgspec.json.decode(msgspec.json.encode(row))
    for prefix in (content.get("situation") or {}).get("session", {}).get("prefixes", {}).values():
        prefix.pop("age_s")
    for candidate in content.get("candidates", ()):
        candidate.pop("later_cost")  # a prefix cools down while it is compared
    return {name: value for name, value in content.items() if name not in ("ts_ms", "took_us")}
