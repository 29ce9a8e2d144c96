"""The settings of a gateway's callback, read once from the environment of the gateway.

What each trades is in the table of `serving/litellm.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from router_serving.gateways.errors import GatewaySettingsError

TENANT_SOURCES: Final = ("team_id", "team_alias", "org_id", "key_alias", "none")
EVERY_MODEL: Final = "*"
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How a gateway asks the router and reports to it."""

    url: str = "http://127.0.0.1:8080"
    api_key: str | None = field(default=None, repr=False)
    auto_models: frozenset[str] = frozenset({"auto"})
    groups: Mapping[str, str] = field(default_factory=dict)
    fallback: str | None = None
    timeout_s: float = 0.25
    pause_s: float = 5.0
    pass_refusals: bool = True
    tenant: str | None = None
    tenant_from: str = "team_id"
    next_models: int = 0
    queue_outcomes: int = 10_000
    flush_s: float = 5.0

    def is_auto(self, model: object) -> bool:
        """Whether the router is asked for calls to this model.

        >>> GatewaySettings().is_auto("auto"), GatewaySettings().is_auto("claude-haiku-4-5")
        (True, False)
        """
        return model in self.auto_models or EVERY_MODEL in self.auto_models

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every call to the router."""
        key = {} if self.api_key is None else {"x-router-api-key": self.api_key}
        return {"content-type": "application/json", **key}


def read_settings(environ: Mapping[str, str]) -> GatewaySettings:
    """The settings in an environment; GatewaySettingsError for one that can't be used.

    >>> read_settings({"ROUTER_GROUPS": "fast=gemini-3.8-flash"}).groups["fast"]
    'gemini-3.8-flash'
    """
    plain = GatewaySettings()
    url = environ.get("ROUTER_URL") or plain.url
    if not url.startswith(("http://", "https://")):
        raise GatewaySettingsError("ROUTER_URL", url, "an address that starts with http")
    source = environ.get("ROUTER_TENANT_FROM") or plain.tenant_from
    if source not in TENANT_SOURCES:
        allowed = f"one of {', '.join(TENANT_SOURCES)}"
        raise GatewaySettingsError("ROUTER_TENANT_FROM", source, allowed)
    return GatewaySettings(
        url=url.rstrip("/"),
        api_key=environ.get("ROUTER_API_KEY") or None,
        auto_models=frozenset(_listed(environ.get("ROUTER_AUTO_MODELS") or "auto")),
        groups=_pairs(environ.get("ROUTER_GROUPS") or ""),
        fallback=environ.get("ROUTER_FALLBACK") or None,
        timeout_s=_number(environ, "ROUTER_TIMEOUT_MS", plain.timeout_s * 1000, least=1) / 1000,
        pause_s=_number(environ, "ROUTER_PAUSE_S", plain.pause_s, least=0),
        pass_refusals=_flag(environ, "ROUTER_PASS_REFUSALS", default=plain.pass_refusals),
        tenant=environ.get("ROUTER_TENANT") or None,
        tenant_from=source,
        next_models=int(_number(environ, "ROUTER_NEXT_MODELS", plain.next_models, least=0)),
        queue_outcomes=int(
            _number(environ, "ROUTER_QUEUE_OUTCOMES", plain.queue_outcomes, least=1)
        ),
        flush_s=_number(environ, "ROUTER_FLUSH_S", plain.flush_s, least=0),
    )


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pairs(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for pair in _listed(text):
        name, equals, model = (part.strip() for part in pair.partition("="))
        if not name or (equals and not model):
            raise GatewaySettingsError("ROUTER_GROUPS", pair, "name=model, with commas between")
        found[name] = model or name
    return MappingProxyType(found)


def _number(environ: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    text = environ.get(name) or ""
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= 1e9:
        raise GatewaySettingsError(name, text, f"a number of at least {least:g}")
    return value


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = (environ.get(name) or "").strip().lower()
    if not text:
        return default
    if text not in _FLAGS:
        raise GatewaySettingsError(name, text, "true or false")
    return _FLAGS[text]
