"""What an API key looks like in text, so that one is refused or hidden wherever text goes on."""

import hashlib
import re
from typing import Any, Final

# Also one that was cut off or spelt in capitals on its way.
_SECRET: Final = re.compile(r"(rk_[a-z0-9]{8}_)[a-z0-9_-]{20,}", re.IGNORECASE)
MAX_NAME_CHARS: Final = 256
"""The longest name that is kept in memory and in the log."""


def holds_secret(text: str) -> bool:
    """True when a key's secret stands in the text.

    >>> holds_secret("ci"), holds_secret("rk_ab12cd34"), holds_secret("rk_ab12cd34_" + 43 * "x")
    (False, False, True)
    """
    return _SECRET.search(text) is not None


def hidden(text: str) -> str:
    """The text with what is secret in every key replaced by dots.

    >>> hidden("path: got '/rk_ab12cd34_0123456789012345678901234567890123456789012'")
    "path: got '/rk_ab12cd34_...'"
    """
    return _SECRET.sub(r"\1...", text)


HASHED: Final = "hash:"


def as_name(text: str) -> str:
    """A name out of a client's body or headers, as it may be kept and logged.

    Nobody checked those: one that is longer than names are, or holds a key, goes by its hash.

    >>> as_name("session-7"), as_name(300 * "x")
    ('session-7', 'hash:c2f093e41879e412280bfcc0ed6533e4')
    """
    if len(text) <= MAX_NAME_CHARS and not holds_secret(text):
        return text
    return HASHED + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def hide_in_line(_: object, __: str, line: Any) -> str:
    """The last step of a log line: what a caller sent brings no key into it."""
    return hidden(str(line))
