"""Checks JSON values against the schemas that clients send, which may be anything.

A schema is compiled once by its content. Nothing is ever fetched: a reference that leaves the
schema can't be resolved, and then nothing is said of the value. So it is where a schema is no
schema or asks for too much work. Not looked at, since a hostile one could stall the process:
`pattern`, `patternProperties` (with it unknown properties are not refused), `unevaluated...`.
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, Final

import msgspec

from router_model.errors import RouterError

MAX_STEPS: Final = 20_000
"""Most keywords that are looked at for one value: a third of a second at worst."""
MAX_SCHEMA_BYTES: Final = 64 * 1024
"""Longest schema that is looked at; half a second, once, at worst."""
_MAX_MIXED_ITEMS: Final = 100
_N_KEPT: Final = 512
_UNSEEN: Final = (
    "pattern",
    "patternProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
)
# What jsonschema raises of schemas and values that its authors did not think of.
_ODD: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)

Keyword = Callable[[Any, Any, Any, Any], Any]
_left: ContextVar[list[int]] = ContextVar("steps left of the check that runs")


class _TooMuchError(RouterError):
    """A check that takes more steps than it may."""


def fits(value: Any, schema: bytes) -> bool | None:
    """Whether a decoded JSON value is of this schema; None where that can't be told.

    That is so for a schema that is none or too large, for references that lead out of it or in
    circles, and where the package jsonschema is not installed (the extras `serve` and
    `gateways` bring it).

    >>> fits({"path": "a.py"}, b'{"type": "object", "required": ["path"]}'), fits({}, b"oops")
    (True, None)
    """
    validator = _validator(schema)
    if validator is None:
        return None
    from jsonschema import exceptions
    from referencing.exceptions import Unresolvable

    left = _left.set([MAX_STEPS])
    try:
        return bool(validator.is_valid(value))
    except (_TooMuchError, Unresolvable, exceptions.UnknownType, *_ODD):
        return None
    finally:
        _left.reset(left)


@lru_cache(maxsize=_N_KEPT)
def _validator(schema: bytes) -> Any:
    """A validator of this schema, None where there can't be one."""
    try:
        from jsonschema import Draft202012Validator, validators
        from referencing import Registry
    except ModuleNotFoundError:
        return None
    if len(schema) > MAX_SCHEMA_BYTES:
        return None
    try:
        decoded = msgspec.json.decode(schema)
        dialect = validators.validator_for(decoded, default=Draft202012Validator)
        decoded = _cleaned(decoded)
        if not isinstance(decoded, dict) or not dialect(dialect.META_SCHEMA).is_valid(decoded):
            return None
        # Without a registry of our own, references to other documents would be fetched.
        return _bounded(dialect)(decoded, registry=Registry())
    except (_TooMuchError, *_ODD):
        return None


def _cleaned(value: Any) -> Any:
    """The schema without `$schema`: in a part of it, it would bring back the unbounded dialect."""
    if isinstance(value, list):
        if len(value) > _MAX_MIXED_ITEMS and not _can_be_sorted(value):
            raise _TooMuchError("a list whose items are compared pair by pair")
        return [_cleaned(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _cleaned(part)
        for name, part in value.items()
        if name != "$schema" or isinstance(part, dict | bool)  # a property of this name
    }


@cache
def _bounded(dialect: Any) -> Any:
    """The same dialect, whose every keyword is counted, without those that can't be bounded."""
    from jsonschema import validators

    keywords = {name: _counted(check) for name, check in dialect.VALIDATORS.items()}
    keywords |= {name: _counted(_pass) for name in _UNSEEN if name in keywords}
    keywords |= {
        name: _counted(_after(keywords[name], rule))
        for name, rule in _RULES.items()
        if name in keywords
    }
    return validators.extend(dialect, validators=keywords)


def _counted(check: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _spend(1)
        yield from check(validator, value, instance, schema) or ()

    return counted


def _after(check: Keyword, is_skipped: Callable[[Any, Any], bool]) -> Keyword:
    def guarded(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not is_skipped(instance, schema):
            yield from check(validator, value, instance, schema) or ()

    return guarded


def _pass(validator: Any, value: Any, instance: Any, schema: Any) -> tuple[()]:
    return ()


def _has_patterns(instance: Any, schema: Any) -> bool:
    return "patternProperties" in schema


def _is_null(instance: Any, schema: Any) -> bool:
    """True for null where OpenAPI, and so Gemini, allows it beside the type."""
    return instance is None and schema.get("nullable") is True


def _spend_pairs(instance: Any, schema: Any) -> bool:
    """False, having counted the pairs that are compared: all, unless the items can be sorted."""
    if isinstance(instance, list):
        _spend(len(instance) if _can_be_sorted(instance) else len(instance) ** 2)
    return False


def _can_be_sorted(items: list[Any]) -> bool:
    return all(isinstance(item, str) for item in items) or all(
        isinstance(item, int | float) for item in items
    )


_RULES: Final = {
    "additionalProperties": _has_patterns,
    "type": _is_null,
    "enum": _is_null,
    "uniqueItems": _spend_pairs,
}


def _spend(steps: int) -> None:
    left = _left.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooMuchError("a check of too many steps")
