"""A client's body as a caller in process has it: raw, as text, decoded, or parsed already."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.formats.jsontext import too_deep
from router_model.outline import request_hash
from router_model.types import Caller, PolicyOverrides, Request, WireFormat

Body = bytes | str | Mapping[str, Any]


def body_bytes(body: Body) -> bytes:
    """The body as JSON; InvalidRequestError for what JSON can't say.

    >>> body_bytes({"messages": []})
    b'{"messages":[]}'
    """
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    try:
        return msgspec.json.encode(body)
    except RecursionError:
        raise too_deep("body") from None
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidRequestError("body", type(body).__name__, f"JSON ({error})") from None


def request_in(
    body: Request | Body, *, wire_format: WireFormat | None = None, path: str | None = None
) -> Request:
    """The request in a body, in the named dialect, else the path's, else the detected one."""
    if isinstance(body, Request):
        return body
    return formats.parse(body_bytes(body), wire_format=wire_format, path=path)


def id_of_call(request: Request, caller: Caller, overrides: PolicyOverrides) -> str:
    """A decision id for a call that has none: the same for the same call of the same caller.

    >>> id_of_call(Request(messages=()), Caller(), PolicyOverrides())
    'call:38c624b058df4051cec65dc57091057f'
    """
    told = msgspec.json.encode((request_hash(request), caller, overrides))
    return f"call:{hashlib.sha256(told).hexdigest()[:32]}"
