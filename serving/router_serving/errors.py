"""The one table from error code to HTTP status, rendered as problem+json (RFC 9457).

Raised by the service itself, beside the tree in `router_model.errors`:

RouterError
├── PayloadTooLargeError     the body exceeds max_body_bytes
├── DecisionIdReusedError    a decision_id that already stands for another request
├── DecisionNotFoundError    no such decision in the log
├── NoSuchPathError          nothing is served here
├── WrongMethodError         served, but not with this method
├── StartError               the service can't be started like this
├── UnauthorizedError        no key, or none that is valid
├── ForbiddenError           a valid key without the scope, or of another tenant
├── TooSlowError             headers or a body that did not arrive in time
├── EncodingError            a body in a content encoding that is not read
├── LimitExceededError       a rate, a token cap, a budget or the kill switch
├── OverloadedError          more calls wait than may
├── LedgerError              budgets can't be checked or settled now
├── KeysError                a file of keys that can't be used
├── TenantsError             a file of tenants' settings that can't be used
├── RolloutError             a rollout that can't be carried out
└── ClientGoneError          the caller hung up before its body was complete
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson

from router_model.errors import InvalidRequestError, NoAdmissibleModelError, RouterError
from router_serving.redaction import hidden

PROBLEM_TYPE = b"application/problem+json"

STATUS: dict[str, int] = {
    "malformed_json": 400,
    "malformed_http": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "decision_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "body_needed": 409,
    "decision_id_reused": 409,
    "no_admissible_model": 409,
    "payload_too_large": 413,
    "headers_too_large": 431,
    "unsupported_encoding": 415,
    "invalid_request": 422,
    "limit_exceeded": 429,
    "internal_error": 500,
    "invalid_artifact": 503,
    "invalid_catalog": 503,
    "invalid_keys": 503,
    "invalid_rollout": 503,
    "invalid_tenants": 503,
    "ledger_unavailable": 503,
    "log_error": 503,
    "not_ready": 503,
    "overloaded": 503,
    "prediction_unavailable": 503,
}

# Worth another try in a moment: what a 503 means for the caller.
RETRY_AFTER_S = 1
# A call that can never pass is not worth another try today.
NEVER_S = 86_400

TITLES: dict[str, str] = {
    "malformed_json": "The body is not JSON",
    "malformed_http": "The request is not understood",
    "unauthorized": "A valid key is needed",
    "forbidden": "The key does not permit this",
    "decision_not_found": "No such decision",
    "not_found": "Nothing is served at this path",
    "method_not_allowed": "The path does not take this method",
    "request_timeout": "The request did not arrive in time",
    "body_needed": "The features can't be used: send the body",
    "decision_id_reused": "The decision_id stands for another request",
    "no_admissible_model": "No model can take this request",
    "payload_too_large": "The body is too large",
    "headers_too_large": "The request line and headers are too large",
    "unsupported_encoding": "The body's encoding is not read",
    "invalid_request": "The request is not valid",
    "limit_exceeded": "A limit is reached",
    "internal_error": "The service failed",
    "invalid_artifact": "The artifact can't be used",
    "invalid_catalog": "The catalog can't be used",
    "invalid_keys": "The keys can't be used",
    "invalid_rollout": "The rollout can't be carried out",
    "invalid_tenants": "The tenants' settings can't be used",
    "ledger_unavailable": "Budgets can't be checked or settled",
    "log_error": "The log can't be written or read",
    "not_ready": "The service is not ready",
    "overloaded": "Too many calls wait",
    "prediction_unavailable": "Nothing can be predicted for this request",
}


class PayloadTooLargeError(RouterError):
    """The body exceeds the limit; it is not read to its end."""

    code = "payload_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"body: more than {limit} bytes, expected at most ROUTER_MAX_BODY_BYTES")


class UnauthorizedError(RouterError):
    """No key was sent, or none that is valid; it does not say which part was wrong."""

    code = "unauthorized"
    field = "x-router-api-key"


class ForbiddenError(RouterError):
    """A valid key that lacks a scope, or speaks for another tenant."""

    code = "forbidden"


class TooSlowError(RouterError):
    """Headers or body that did not arrive in time; the connection is closed."""

    code = "request_timeout"


class EncodingError(RouterError):
    """A body in a content encoding that is not read."""

    code = "unsupported_encoding"
    field = "content-encoding"


class LimitExceededError(RouterError):
    """Over a limit; `limit` names it, `retry_after_s` is when another try may help.

    `retry_after_s` None means that the same call will never pass.
    """

    code = "limit_exceeded"

    def __init__(self, message: str, *, limit: str, retry_after_s: int | None) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_s = retry_after_s


class OverloadedError(RouterError):
    """More calls wait than ROUTER_MAX_WAITING permits."""

    code = "overloaded"


class LedgerError(RouterError):
    """The ledger can't be read or written; nothing was reserved or settled."""

    code = "ledger_unavailable"


class KeysError(RouterError):
    """A file of keys that can't be used; names the file and what is wrong with it."""

    code = "invalid_keys"


class DecisionIdReusedError(RouterError):
    """The caller sent a decision_id again, with a request that differs from the first."""

    code = "decision_id_reused"
    field = "decision_id"

    def __init__(self, decision_id: str) -> None:
        super().__init__(
            f"decision_id: got {decision_id!r}, which already stands for another request; "
            "expected a new id, or the same request and policy again"
        )


class DecisionNotFoundError(RouterError):
    """The log holds no such decision."""

    code = "decision_not_found"
    field = "decision_id"

    def __init__(self, decision_id: str) -> None:
        super().__init__(f"decision_id: got {decision_id!r}, expected one that is in the log")


class NoSuchPathError(RouterError):
    """Nothing is served at this path."""

    code = "not_found"


class WrongMethodError(RouterError):
    """The path is served, but not with this method."""

    code = "method_not_allowed"

    def __init__(self, method: str, *, allowed: Sequence[str]) -> None:
        super().__init__(f"method: got {method}, expected {' or '.join(allowed)}")
        self.allowed = ", ".join(allowed)


class StartError(RouterError):
    """The service can't be started like this; the message says what to change."""

    code = "not_ready"


class TenantsError(RouterError):
    """A file of tenants' settings that can't be used; names file, key and what is allowed."""

    code = "invalid_tenants"


class RolloutError(RouterError):
    """A rollout that can't be carried out; names the file and what is wrong with it."""

    code = "invalid_rollout"


class ClientGoneError(RouterError):
    """The caller hung up; there is nobody to answer."""

    code = "malformed_http"


def status_of(code: str) -> int:
    """HTTP status of an error code; 500 for one that is not in the table."""
    return STATUS.get(code, 500)


def problem_headers(error: RouterError) -> list[tuple[bytes, bytes]]:
    """The response headers that belong to an error.

    `x-should-retry` is what the clients of OpenAI and Anthropic look at before they try again.
    """
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, WrongMethodError):
        headers.append((b"allow", error.allowed.encode()))
    if isinstance(error, UnauthorizedError):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, LimitExceededError):
        after_s = NEVER_S if error.retry_after_s is None else error.retry_after_s
        headers.append((b"retry-after", str(after_s).encode()))
        if error.retry_after_s is None:
            headers.append((b"x-should-retry", b"false"))
    elif status_of(error.code) == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    if isinstance(error, TooSlowError):
        headers.append((b"connection", b"close"))
    return headers


def problem(error: RouterError, *, field_prefix: str = "") -> tuple[int, bytes]:
    """Status and problem+json body of an error raised on purpose.

    `field_prefix` is put before the field of an invalid request that came in an envelope.
    """
    status = status_of(error.code)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal_problem()
    content = _content(error.code, str(error))
    if isinstance(error, InvalidRequestError):
        whole = field_prefix and error.field == "body"
        name = field_prefix.rstrip(".") if whole else f"{field_prefix}{error.field}"
        content["detail"] = name + str(error).removeprefix(error.field)
        content |= {"field": name, "allowed": error.allowed}
        if unknown := getattr(error, "unknown", None):
            content["unknown"] = unknown
    elif isinstance(error, NoAdmissibleModelError):
        content["excluded"] = error.excluded
    elif isinstance(error, LimitExceededError):
        content |= {"limit": error.limit, "retry_after_s": error.retry_after_s}
    elif hasattr(error, "field"):
        content["field"] = error.field
    # A value is shown as it came: where that was a key, its secret is not.
    return status, hidden(orjson.dumps(content).decode()).encode()


def internal_problem() -> tuple[int, bytes]:
    """Status and body for a failure that nobody expected: it gives nothing away."""
    content = _content("internal_error", "an unexpected error; the service's log has the details")
    return 500, orjson.dumps(content)


def _content(code: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:router-model:problem:{code}",
        "title": TITLES[code],
        "status": STATUS[code],
        "code": code,
        "detail": detail,
    }
