"""Checks the limits that a call sets for itself, by the same rules over HTTP and in process."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

from router_model.catalog import Catalog, model_ids, unknown_models
from router_model.constraints import NO_OVERRIDES as NO_OVERRIDES
from router_model.errors import InvalidRequestError
from router_model.terms import Objective, PolicyOverrides


class UnknownModelsError(InvalidRequestError):
    """Names that are not in the catalog; names them all, and every name that is."""

    def __init__(self, field: str, unknown: Sequence[str], *, known: Sequence[str]) -> None:
        super().__init__(field, list(unknown), f"names of the catalog: {', '.join(known)}")
        self.unknown = list(unknown)


def checked_overrides(overrides: PolicyOverrides, catalog: Catalog) -> PolicyOverrides:
    """The limits with the ids of the models that they name.

    Raises InvalidRequestError naming the field, its value and what is allowed.
    """
    if overrides is NO_OVERRIDES:
        return overrides
    given = {name: getattr(overrides, name) for name in PolicyOverrides.__struct_fields__}
    found: dict[str, Any] = {
        name: checked_models(value, field="overrides.models", catalog=catalog)
        if name == "models"
        else checked_limit(name, value, field=f"overrides.{name}")
        for name, value in given.items()
        if value is not None
    }
    return PolicyOverrides(**found)


def checked_limit(name: str, value: object, *, field: str) -> Any:
    """The value of one limit other than `models`; InvalidRequestError where it is not allowed.

    >>> checked_limit("min_adequacy", 1, field="min_adequacy")
    1.0
    """
    return _CHECKS[name](value, field)


def checked_models(value: object, *, field: str, catalog: Catalog) -> tuple[str, ...]:
    """The ids of the models that are named, each once; InvalidRequestError for other values."""
    is_list = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    if not isinstance(value, list | tuple) or not value or not is_list:
        raise InvalidRequestError(field, value, "a non-empty list of model names")
    if unknown := unknown_models(catalog, value):
        raise UnknownModelsError(field, unknown, known=sorted(catalog.models))
    return tuple(dict.fromkeys(model_ids(catalog, value)))


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _share(value: Any, field: str) -> float:
    if not _finite(value) or not 0.0 <= value <= 1.0:
        raise InvalidRequestError(field, value, "a number from 0 to 1")
    return float(value)


def _positive(value: Any, field: str) -> float:
    if not _finite(value) or not 0 < value <= 1e12:
        raise InvalidRequestError(field, value, "a number above 0, at most 1e12")
    return float(value)


def _flag(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(field, value, "true or false")
    return value


def _objective(value: Any, field: str) -> str:
    if value not in get_args(Objective):
        raise InvalidRequestError(field, value, f"one of {', '.join(get_args(Objective))}")
    return str(value)


_CHECKS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "min_adequacy": _share,
    "max_cost_usd": _positive,
    "max_tool_call_latency_ms": _positive,
    "objective": _objective,
    "deterministic": _flag,
    "pin_session": _flag,
}
