"""Everything that is raised on purpose.

RouterError
├── InvalidRequestError      a body that can't be understood; names field, value, allowed
│   └── MalformedJsonError   not JSON at all
├── BodyNeededError          features that can't be used here; the body itself is needed
├── NoAdmissibleModelError   every model is excluded; carries the reasons
├── CatalogError             a catalog file that can't be used
├── ArtifactError            an artifact folder that is incomplete, altered or of another schema
├── PredictionError          scores that can't be computed or are not numbers
├── LogError                 a segment or store that can't be read or written
├── DatasetError             data that can't be trained or evaluated on
└── NotReadyError            the service has no artifact yet

`code` is stable and part of the API.
"""

from collections.abc import Mapping
from reprlib import Repr
from typing import Self

_N_SHOWN, _N_FIELD = 80, 200
# Whatever is not shown is not looked at: a value may be large, and nested deeply.
_repr = Repr()
_repr.maxlevel, _repr.maxlong = 3, _N_SHOWN
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 15


class RouterError(Exception):
    """Root of all errors raised on purpose."""

    code = "router_error"


class InvalidRequestError(RouterError):
    """A request that can't be understood; the message names field, value and what is allowed."""

    code = "invalid_request"

    def __init__(self, field: str, value: object, allowed: str, *, said: str = "") -> None:
        """`said` replaces the usual "got ..., expected ..." where there is no value to show."""
        self.field = field if len(field) <= _N_FIELD else field[: _N_FIELD - 3] + "..."
        super().__init__(f"{self.field}: {said or f'got {_shown(value)}, expected {allowed}'}")
        self.allowed = allowed


class MalformedJsonError(InvalidRequestError):
    """The body is not JSON."""

    code = "malformed_json"

    @classmethod
    def because(cls, field: str, fault: str, *, allowed: str = "JSON") -> Self:
        """The error for text that a parser gave up on; `fault` says where and why.

        >>> print(MalformedJsonError.because("body", "trailing characters (byte 8)"))
        body: not valid JSON: trailing characters (byte 8)
        """
        return cls(field, None, allowed, said=f"not valid JSON: {fault}")


class BodyNeededError(RouterError):
    """Features that can't be used here, however right they are: send the body instead."""

    code = "body_needed"

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        super().__init__(
            f"{field}: got {_shown(value)}, expected {expected}; send the body as `request`"
        )


class NoAdmissibleModelError(RouterError):
    """Every model is excluded; `excluded` maps each model to its reason.

    Where a budget excludes some, `needed_microusd` is what the call may cost at most with the
    cheapest of them.
    """

    code = "no_admissible_model"

    def __init__(self, excluded: Mapping[str, str], *, needed_microusd: int | None = None) -> None:
        reasons = "; ".join(f"{model}: {reason}" for model, reason in excluded.items())
        super().__init__(f"no model can take this request ({reasons or 'the catalog is empty'})")
        self.excluded = dict(excluded)
        self.needed_microusd = needed_microusd


class CatalogError(RouterError):
    """A catalog file that can't be used."""

    code = "invalid_catalog"


class ArtifactError(RouterError):
    """An artifact folder that is incomplete, altered or of another schema."""

    code = "invalid_artifact"


class PredictionError(RouterError):
    """Scores that can't be computed or are not finite numbers; the router then falls back."""

    code = "prediction_unavailable"


class LogError(RouterError):
    """A log segment or store that can't be read or written."""

    code = "log_error"


class DatasetError(RouterError):
    """Data that can't be trained or evaluated on."""

    code = "invalid_dataset"


class NotReadyError(RouterError):
    """The service has no artifact to decide with."""

    code = "not_ready"


def _shown(value: object) -> str:
    """The start of a value as Python shows it."""
    if isinstance(value, str | bytes):
        shown = repr(value[: _N_SHOWN + 1])
    else:
        try:
            shown = _repr.repr(value)
        except ValueError:  # an integer of more digits than Python shows
            shown = f"a {type(value).__name__} too large to show"
    return shown if len(shown) <= _N_SHOWN else shown[: _N_SHOWN - 3] + "..."
