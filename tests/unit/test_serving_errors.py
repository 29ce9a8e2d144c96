import inspect
import json

import pytest

import router_model.errors
import router_serving.errors
from router_model.errors import (
    ArtifactError,
    InvalidRequestError,
    LogError,
    MalformedJsonError,
    NoAdmissibleModelError,
    NotReadyError,
    PredictionError,
    RouterError,
)
from router_serving.errors import (
    STATUS,
    TITLES,
    DecisionIdReusedError,
    LedgerError,
    LimitExceededError,
    NoSuchPathError,
    OverloadedError,
    PayloadTooLargeError,
    TooSlowError,
    UnauthorizedError,
    WrongMethodError,
    internal_problem,
    problem,
    problem_headers,
    status_of,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedJsonError("body", "x", "JSON"), 400),
        (InvalidRequestError("messages", 3, "a list"), 422),
        (NoAdmissibleModelError({"m": "no_tools"}), 409),
        (PayloadTooLargeError(10), 413),
        (DecisionIdReusedError("d"), 409),
        (LogError("disk full"), 503),
        (ArtifactError("altered"), 503),
        (NotReadyError("no artifact"), 503),
        (PredictionError("trees: failed"), 503),
    ],
)
def test_each_error_has_its_status(error: RouterError, status: int) -> None:
    found, body = problem(error)
    content = json.loads(body)
    assert found == content["status"] == status
    assert content["code"] == error.code
    assert content["title"] == TITLES[error.code]
    assert content["detail"]


def test_every_status_has_a_title_and_the_other_way_round() -> None:
    assert STATUS.keys() == TITLES.keys()


def test_every_error_that_a_call_can_raise_is_in_the_table() -> None:
    # What only trainers raise never reaches the API; the root is never raised itself.
    offline = {"invalid_dataset", "router_error"}
    for module in (router_model.errors, router_serving.errors):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, RouterError) and kind.code not in offline:
                assert kind.code in STATUS, kind


def test_an_invalid_request_names_field_value_and_allowed() -> None:
    _, body = problem(InvalidRequestError("messages[3].content", 7, "text or a list"))
    content = json.loads(body)
    assert content["field"] == "messages[3].content"
    assert content["allowed"] == "text or a list"
    assert "7" in content["detail"]


def test_a_field_inside_an_envelope_is_named_from_the_outside() -> None:
    error = InvalidRequestError("messages", 7, "a list")
    content = json.loads(problem(error, field_prefix="request.")[1])
    assert content["field"] == "request.messages"
    assert content["detail"].startswith("request.messages: got 7")


def test_the_whole_body_of_an_envelope_is_its_request() -> None:
    error = MalformedJsonError("body", "x", "JSON")
    content = json.loads(problem(error, field_prefix="request.")[1])
    assert content["field"] == "request"


def test_the_exclusions_are_told() -> None:
    _, body = problem(NoAdmissibleModelError({"m": "no_vision"}))
    assert json.loads(body)["excluded"] == {"m": "no_vision"}


def test_an_unknown_code_is_an_internal_error_that_gives_nothing_away() -> None:
    assert status_of("something_new") == 500
    status, body = problem(RouterError("the secret path"))
    assert (status, body) == internal_problem()
    assert b"secret" not in body


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (LogError("disk full"), {b"retry-after": b"1"}),
        (OverloadedError("256 wait"), {b"retry-after": b"1"}),
        (LedgerError("can't be written"), {b"retry-after": b"1"}),
        (LimitExceededError("rpm", limit="rpm", retry_after_s=7), {b"retry-after": b"7"}),
        (
            LimitExceededError("too many tokens", limit="tokens", retry_after_s=None),
            {b"retry-after": b"86400", b"x-should-retry": b"false"},
        ),
        (UnauthorizedError("no key"), {b"www-authenticate": b"Bearer"}),
        (TooSlowError("body"), {b"connection": b"close"}),
        (WrongMethodError("PUT", allowed=["POST"]), {b"allow": b"POST"}),
        (InvalidRequestError("messages", 3, "a list"), {}),
    ],
)
def test_an_error_says_when_and_how_to_come_back(
    error: RouterError, headers: dict[bytes, bytes]
) -> None:
    assert dict(problem_headers(error)) == headers


def test_a_limit_is_named_with_the_time_after_which_it_may_pass() -> None:
    status, body = problem(LimitExceededError("60 of 60 calls", limit="rpm", retry_after_s=7))
    content = json.loads(body)
    assert status == 429
    assert (content["limit"], content["retry_after_s"]) == ("rpm", 7)


def test_no_problem_shows_a_key() -> None:
    key = "rk_ab12cd34_" + 43 * "s"
    for error in (
        InvalidRequestError("format", key, "a format"),
        InvalidRequestError(key, "a value", "only known members"),
        NoSuchPathError(f"path: got '/{key}'"),
    ):
        _, body = problem(error)
        assert b"ssss" not in body
        assert b"rk_ab12cd34_..." in body
