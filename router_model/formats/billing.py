"""What a body asks for that changes its price: a service tier, and a longer life of the cache."""

import re
from typing import Any, Final

# Inside text every quote is escaped, so that this is found only where it is JSON of the body.
_TTL: Final = re.compile(rb'"cache_control"\s*:\s*\{[^{}]*"ttl"\s*:\s*"(\d{1,6})\s*([smhd])"')
_DURATION: Final = re.compile(r"(\d{1,6})\s*([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def service_tier_of(*stated: Any) -> str | None:
    """The first service tier that is named, in lower case; None where there is none.

    >>> service_tier_of(None, "Flex"), service_tier_of("")
    ('flex', None)
    """
    names = (value.strip().lower() for value in stated if isinstance(value, str))
    return next((name for name in names if name), None)


def longest_ttl_s(body: bytes) -> int | None:
    """The longest lifetime in seconds that a cache marker of a body asks for; None if unsaid.

    >>> longest_ttl_s(b'{"cache_control": {"type": "ephemeral", "ttl": "1h"}}')
    3600
    """
    if b'"ttl"' not in body:
        return None
    found = (int(count) * _SECONDS[unit.decode()] for count, unit in _TTL.findall(body))
    return max(found, default=None)


def duration_s(text: Any) -> int | None:
    """The seconds of a text like "24h"; None for anything else.

    >>> duration_s("24h"), duration_s("in_memory")
    (86400, None)
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return None if match is None else int(match[1]) * _SECONDS[match[2]]
