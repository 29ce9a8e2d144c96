"""What a call asks for: the client's body, who calls and the limits it sets.

The body of the client stays the bytes it was. Three pieces may travel around it, as members of
an envelope or as `x-router-*` headers; a member wins over its header. Unknown members of the
envelope and of `policy` are refused, since a misspelt limit must not be silently without effect;
unknown members of `caller` are not, since gateways send what they have.
"""

import re
from collections.abc import Callable, Container, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from router_model.catalog import Catalog
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext
from router_model.overrides import NO_OVERRIDES, checked_limit, checked_models
from router_model.types import Caller, PolicyOverrides, WireFormat
from router_serving.access import ANYBODY, Rights
from router_serving.call import Call, Headers
from router_serving.redaction import MAX_NAME_CHARS, holds_secret

MAX_MEMBERS = 1_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DECISION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~@-]{0,127}\Z")
_STARTS_LIKE_AN_ENVELOPE = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?:request|features|format|path|caller|policy)"\s*:'
)

ENVELOPE_FIELDS = ("request", "features", "format", "path", "caller", "policy")
CALLER_FIELDS = ("tenant", "key", "user", "session", "decision_id", "client")
POLICY_FIELDS = (
    *("min_adequacy", "max_cost_usd", "max_tool_call_latency_ms", "models"),
    *("objective", "deterministic", "pin_session"),
)
_DEFAULT_CALLER = Caller()

Parsed = Mapping[str, Any]


_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ANYTHING = msgspec.json.Decoder(Any)


def is_envelope(body: bytes) -> bool:
    """True when the body opens like an envelope: its first member is one of ours.

    >>> is_envelope(b'{"caller": {}, "request": {}}'), is_envelope(b'{"messages": []}')
    (True, False)
    """
    return _STARTS_LIKE_AN_ENVELOPE.match(body) is not None


def opened(body: bytes, headers: Headers, *, catalog: Catalog, rights: Rights = ANYBODY) -> Call:
    """The call that an envelope carries."""
    jsontext.check_values(body)
    members = jsontext.decode(_MEMBERS, body.removeprefix(BYTE_ORDER_MARK))
    if unknown := sorted(members.keys() - set(ENVELOPE_FIELDS)):
        raise InvalidRequestError(unknown[0], "a value", f"only {', '.join(ENVELOPE_FIELDS)} here")
    if ("request" in members) == ("features" in members):
        value = "features too" if "features" in members else None
        raise InvalidRequestError("request", value, "the client's body, an object, or its features")
    name = _member(members, "format")
    if name is None:
        name = headers.get("x-router-format")
    caller = _object(members, "caller", only=CALLER_FIELDS)
    policy = _object(members, "policy")
    member = "features" if "features" in members else "request"
    return Call(
        body=bytes(members[member]),
        is_packed=member == "features",
        wire_format=named_format(name, field="format"),
        path=_path(_member(members, "path")),
        caller=caller_of(caller, headers, rights=rights),
        overrides=overrides_of(policy, headers, catalog=catalog),
        headers=headers,
        prefix=f"{member}.",
        bound_key=rights.bound_key,
    )


def bare(
    body: bytes,
    headers: Headers,
    *,
    catalog: Catalog,
    path: str | None = None,
    rights: Rights = ANYBODY,
) -> Call:
    """The call that a client's own body makes; everything around it is in the headers."""
    return Call(
        body=body,
        wire_format=named_format(headers.get("x-router-format"), field="x-router-format"),
        caller=caller_of({}, headers, rights=rights),
        overrides=overrides_of({}, headers, catalog=catalog),
        headers=headers,
        path=path,
        bound_key=rights.bound_key,
    )


def named_format(name: object, *, field: str) -> WireFormat | None:
    """The named wire format; None leaves it to detection.

    >>> named_format("gemini", field="format")
    <WireFormat.GEMINI: 'gemini'>
    """
    if name is None:
        return None
    try:
        return WireFormat(name)  # type: ignore[arg-type]  # anything but a known name raises
    except ValueError:
        allowed = ", ".join(WireFormat)
        raise InvalidRequestError(field, name, f"one of {allowed}") from None


def caller_of(members: Parsed, headers: Headers, *, rights: Rights = ANYBODY) -> Caller:
    """Who calls, from the envelope's `caller` and the headers.

    A bound key fills in its tenant and, as the name of the key, its id; ForbiddenError where the
    caller names another tenant.

    >>> caller_of({"tenant": "acme"}, {"x-router-user": "kim"})
    Caller(tenant='acme', key=None, user='kim', session=None, decision_id=None, client=None)
    """
    found: dict[str, str] = {}
    for name in CALLER_FIELDS:
        value, field = members.get(name), f"caller.{name}"
        if value is None:
            field = "x-router-" + name.replace("_", "-")
            value = headers.get(field)
        if value is not None:
            found[name] = (_decision_id if name == "decision_id" else name_of)(value, field)
            if name == "tenant":
                rights.check_tenant(value, field)
    if rights.tenant is not None and rights.bound_key is not None:
        found = {"tenant": rights.tenant, "key": rights.bound_key} | found
    return Caller(**found) if found else _DEFAULT_CALLER


def overrides_of(members: Parsed, headers: Headers, *, catalog: Catalog) -> PolicyOverrides:
    """The limits of this one call, from the envelope's `policy` and the headers."""
    if unknown := sorted(members.keys() - set(POLICY_FIELDS)):
        raise InvalidRequestError(
            f"policy.{unknown[0]}", members[unknown[0]], f"one of {', '.join(POLICY_FIELDS)}"
        )
    found: dict[str, Any] = {}
    for name, read in _FROM_HEADER.items():
        if members.get(name) is not None:
            found[name] = checked_limit(name, members[name], field=f"policy.{name}")
        elif (text := headers.get(header := "x-router-" + name.replace("_", "-"))) is not None:
            found[name] = checked_limit(name, read(text, header), field=header)
    if members.get("models") is not None:
        found["models"] = checked_models(members["models"], field="policy.models", catalog=catalog)
    elif (text := headers.get("x-router-models")) is not None:
        listed = [item.strip() for item in text.split(",") if item.strip()]
        found["models"] = checked_models(listed, field="x-router-models", catalog=catalog)
    return PolicyOverrides(**found) if found else NO_OVERRIDES


def _member(members: Mapping[str, Raw], name: str) -> Any:
    raw = members.get(name)
    return None if raw is None else jsontext.decode(_ANYTHING, raw, at=name)


def _path(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.startswith("/")):
        return value
    raise InvalidRequestError("path", value, "the path that the client called, with its first /")


def _object(members: Mapping[str, Raw], name: str, *, only: Container[str] | None = None) -> Parsed:
    raw = members.get(name)
    if raw is None or not bytes(raw).startswith(b"{"):
        value = _member(members, name)
        if value is None:
            return {}
        raise InvalidRequestError(name, value, "an object")
    inner = jsontext.decode(_MEMBERS, raw, at=name)
    if len(inner) > MAX_MEMBERS:
        raise InvalidRequestError(name, f"{len(inner)} members", f"at most {MAX_MEMBERS}")
    # One by one, so that what is wrong with one of them is said of it.
    return {
        key: jsontext.decode(_ANYTHING, value, at=f"{name}.{key}")
        for key, value in inner.items()
        if only is None or key in only
    }


def name_of(value: object, field: str) -> str:
    """The value as the name of somebody; InvalidRequestError for anything else."""
    text = _without_secrets(value, field)
    if text is None or not 1 <= len(text) <= MAX_NAME_CHARS or not text.isprintable():
        raise InvalidRequestError(
            field, value, f"a string of 1 to {MAX_NAME_CHARS} printable characters"
        )
    return text


def refuse_secrets(text: str, field: str) -> None:
    """Raise InvalidRequestError, which does not show it, where a key stands that would be logged.

    >>> refuse_secrets("ci", "caller.key")
    """
    if holds_secret(text):
        allowed = "what may be logged, such as a name: a key goes into x-router-api-key alone"
        raise InvalidRequestError(field, "(an API key)", allowed)


def _without_secrets(value: object, field: str) -> str | None:
    if not isinstance(value, str):
        return None
    refuse_secrets(value, field)
    return value


def _decision_id(value: object, field: str) -> str:
    text = _without_secrets(value, field)
    if text is None or not DECISION_ID.match(text):
        raise InvalidRequestError(
            field, value, "1 to 128 letters, digits or . _ : ~ @ -, starting with a letter or digit"
        )
    return text


def _number(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequestError(field, text, "a number") from None


def _flag_text(text: str, field: str) -> Any:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)


def _text(text: str, field: str) -> str:
    return text.strip().lower()


# How each limit is read from a header.
_FROM_HEADER: dict[str, Callable[[str, str], Any]] = {
    "min_adequacy": _number,
    "max_cost_usd": _number,
    "max_tool_call_latency_ms": _number,
    "objective": _text,
    "deterministic": _flag_text,
    "pin_session": _flag_text,
}
