import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_model.errors import InvalidRequestError
from router_serving.ledger.subjects import (
    key_subject,
    subject_of,
    tenant_subject,
    user_subject,
)
from router_serving.redaction import MAX_NAME_CHARS

_names = st.text("ab%/:|25F ü", min_size=1, max_size=6)
_callers = st.tuples(_names, _names)


@given(_callers, _callers)
def test_different_callers_never_share_a_subject(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (key_subject(*one) == key_subject(*other)) == (one == other)
    assert (user_subject(*one) == user_subject(*other)) == (one == other)
    assert (tenant_subject(one[0]) == tenant_subject(other[0])) == (one[0] == other[0])
    assert len({tenant_subject(one[0]), key_subject(*one), user_subject(*one)}) == 3


@given(_callers)
def test_every_subject_is_its_own_one_spelling(caller: tuple[str, str]) -> None:
    for subject in (tenant_subject(caller[0]), key_subject(*caller), user_subject(*caller)):
        assert subject_of(subject) == subject


@given(_callers)
def test_a_subject_fits_into_the_key_of_an_account(caller: tuple[str, str]) -> None:
    assert "|" not in user_subject(*caller)


def test_the_longest_names_make_a_subject() -> None:
    longest = "%" * MAX_NAME_CHARS
    assert subject_of(user_subject(longest, longest)) == user_subject(longest, longest)


def test_everybody_is_a_subject() -> None:
    assert subject_of("all") == "all"


def test_a_colon_may_be_written_as_it_is() -> None:
    assert subject_of("user:acme/kim:home") == user_subject("acme", "kim:home")


@pytest.mark.parametrize(
    "text",
    ["", "acme", "tenant:", "tenant", "tenant:a/b", "key:acme", "key:/ci", "key:acme/", "key:a/b/c",
     "user:acme/100%", "tenant:%41", "team:acme", "all:", "tenant:a\nb", "tenant:a\udc80",
     "tenant:" + "a" * 2000],
)  # fmt: skip
def test_what_is_no_subject_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        subject_of(text)
    assert caught.value.field == "subject"
    assert "key:TENANT/KEY" in str(caught.value)
