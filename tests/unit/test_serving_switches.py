from collections.abc import Sequence

import pytest

from router_model.errors import InvalidRequestError
from router_model.types import Caller
from router_serving.errors import LedgerError, LimitExceededError, problem, problem_headers
from router_serving.ledger.subjects import subject_of
from router_serving.ledger.switches import MAX_REASON_CHARS, Switches, reason_of
from router_serving.ledger.types import Switch

KIM = Caller(tenant="acme", key="ci", user="kim")


class Known:
    """What a store says, until it can't."""

    def __init__(self, *subjects: str) -> None:
        self.on = [Switch(subject=s, reason=f"stop {s}", since_s=1.8e9) for s in subjects]

    def switches(self) -> Sequence[Switch]:
        return self.on


class Gone:
    def switches(self) -> Sequence[Switch]:
        raise LedgerError("ledger: can't be read")


def stopped(*subjects: str, caller: Caller = KIM) -> str | None:
    switches = Switches()
    switches.refresh(Known(*subjects))
    found = switches.stopped_by(caller)
    return None if found is None else found.subject


def test_nobody_is_stopped_without_a_switch() -> None:
    assert stopped() is None
    assert Switches().stopped_by(KIM) is None


@pytest.mark.parametrize("subject", ["all", "tenant:acme", "key:acme/ci", "user:acme/kim"])
def test_everybody_a_tenant_a_key_or_a_user_is_stopped(subject: str) -> None:
    assert stopped(subject) == subject


@pytest.mark.parametrize(
    "subject",
    ["tenant:other", "key:acme/dev", "key:other/ci", "user:acme/ci", "user:other/kim", "key:acme/"],
)
def test_others_go_on(subject: str) -> None:
    assert stopped(subject) is None
    assert stopped(subject, caller=Caller(tenant="acme")) is None


def test_the_widest_switch_is_the_one_that_is_named() -> None:
    assert stopped("user:acme/kim", "key:acme/ci", "tenant:acme", "all") == "all"
    assert stopped("user:acme/kim", "key:acme/ci", "tenant:acme") == "tenant:acme"


def test_names_with_marks_are_stopped_and_never_another_caller() -> None:
    odd = Caller(tenant="a/b", key="c:d|e", user="100%")
    assert stopped("key:a%2Fb/c%3Ad%7Ce", caller=odd) is not None
    assert stopped("user:a%2Fb/100%25", caller=odd) is not None
    assert stopped("key:a/b%2Fc", caller=Caller(tenant="a/b", key="c")) is None


def test_a_stopped_call_is_refused_with_the_reason_and_a_time_to_come_back() -> None:
    switches = Switches()
    switches.check(KIM)
    switches.refresh(Known("tenant:acme"))
    with pytest.raises(LimitExceededError, match="tenant:acme is stopped: stop tenant:acme") as e:
        switches.check(KIM)
    status, body = problem(e.value)
    assert status == 429
    assert b'"limit":"kill_switch","retry_after_s":60' in body
    assert (b"retry-after", b"60") in problem_headers(e.value)


def test_a_switch_holds_until_the_store_says_that_it_is_off() -> None:
    switches = Switches()
    switches.refresh(Known("all"))
    with pytest.raises(LedgerError):
        switches.refresh(Gone())
    assert switches.stopped_by(KIM) is not None
    switches.refresh(Known())
    assert switches.stopped_by(KIM) is None


@pytest.mark.parametrize("value", [None, 5, "", "  ", "a\nb", "x" * (MAX_REASON_CHARS + 1)])
def test_a_reason_has_to_be_a_line_of_text(value: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"reason: got .* printable characters"):
        reason_of(value)


def test_a_key_is_neither_shown_nor_kept() -> None:
    secret = "rk_ab12cd34_" + "x" * 43
    for read, text in ((reason_of, f"leaked {secret}"), (subject_of, f"key:acme/{secret}")):
        with pytest.raises(InvalidRequestError) as caught:
            read(text)
        assert "xxx" not in str(caught.value)
