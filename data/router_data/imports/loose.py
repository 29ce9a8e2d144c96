"""Reads values that exports write in more than one way."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from router_model.errors import DatasetError
from router_model.formats.jsontext import without_lone_surrogates

_LONGEST_NAME: Final = 256
_HASH: Final = re.compile(r"[0-9a-f]{64}")
# Beginnings of secrets that providers and gateways give out.
_SECRET: Final = re.compile(r"(?:sk|pk|rk|key|api|bearer|basic|aiza|ghp|xai|gsk)[-_ ]|eyJ", re.I)
_LONGEST_PLAIN_KEY: Final = 24


def first(values: Mapping[str, Any], *names: str) -> Any:
    """The first value that is there and not empty, else None.

    >>> first({"a": "", "b": 0}, "a", "b", "c")
    0
    """
    for name in names:
        value = values.get(name)
        if value is not None and value != "" and value != {} and value != []:
            return value
    return None


def parsed(value: Any) -> Any:
    """The value, and what it holds where it is text that holds JSON.

    >>> parsed('{"a": 1}'), parsed("plain"), parsed(3)
    ({'a': 1}, 'plain', 3)
    """
    if isinstance(value, str) and value[:1] in ("{", "[", '"'):
        try:
            return msgspec.json.decode(without_lone_surrogates(value.encode()))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return value
    return value


def mapping(value: Any) -> dict[str, Any]:
    """The object that a value is or holds as text; an empty one for anything else."""
    found = parsed(value)
    return found if isinstance(found, dict) else {}


def number(value: Any) -> float | None:
    """The number that a value is or holds as text, None for anything else.

    >>> number("1.5"), number(True), number("nan"), number("x")
    (1.5, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None


def amount(values: Mapping[str, Any], *names: str) -> float | None:
    """Dollars under the first name that is there, None where none is.

    Raises DatasetError, which names the field, for what is there and is no amount of money.

    >>> amount({"spend": "0.5"}, "response_cost", "spend")
    0.5
    """
    named = next((name for name in names if first(values, name) is not None), None)
    if named is None:
        return None
    found = number(values[named])
    if found is None or found < 0:
        raise DatasetError(f"{named}: expected dollars, a number from 0")
    return found


def count(value: Any) -> int | None:
    """The whole number that is written, None where there is none.

    >>> count("12"), count(12.0), count(-1), count(1.5)
    (12, 12, None, None)
    """
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def name(value: Any) -> str | None:
    """Text that names something; a longer one is replaced by its hash, an empty one is None."""
    if value is None or isinstance(value, dict | list | bool):
        return None
    text = str(value).strip()
    return hashed(text) if len(text) > _LONGEST_NAME else text or None


def key_name(value: Any) -> str | None:
    """A key that may be kept: a hash or a short name as it is, anything else hashed.

    >>> key_name("team-a"), key_name("sk-1234")
    ('team-a', 'sha256:88dc28d0f030c55e')
    """
    text = name(value)
    if text is None or _HASH.fullmatch(text):
        return text
    is_secret = len(text) > _LONGEST_PLAIN_KEY or _SECRET.match(text) is not None
    return hashed(text) if is_secret and not text.startswith("sha256:") else text


def hashed(text: str) -> str:
    """ "sha256:" and the first 16 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def looked_up(record: Mapping[str, Any], path: str) -> Any:
    """The value under a name or, where there is none, along a dotted path.

    >>> looked_up({"metadata": {"team": "a"}}, "metadata.team"), looked_up({"a.b": 1}, "a.b")
    ('a', 1)
    """
    if path in record:
        return record[path]
    head, _, rest = path.partition(".")
    return looked_up(mapping(record.get(head)), rest) if rest else None
