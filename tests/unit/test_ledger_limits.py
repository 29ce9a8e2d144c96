from zoneinfo import ZoneInfo

from router_model.types import Caller
from router_serving.ledger.limits import NO_LIMITS, AccountBook, Limits

NOON = 1_795_608_000.0  # 2026-11-25T12:00Z
EVERYTHING = Limits(
    rpm=60,
    tpm=1_000,
    key_rpm=10,
    microusd_per_hour=1,
    microusd_per_day=2,
    microusd_per_month=3,
    key_microusd_per_day=4,
    user_microusd_per_month=5,
    zone=ZoneInfo("Asia/Tokyo"),
)


def keys(caller: Caller, limits: Limits) -> list[str]:
    return [one.account.key for one in AccountBook().of(caller, limits, now_s=NOON)]


def test_every_limit_has_an_account_that_names_unit_subject_and_window() -> None:
    assert keys(Caller(tenant="acme", key="ci", user="kim"), EVERYTHING) == [
        "requests|tenant:acme|minute|2026-11-25T12:00Z",
        "requests|key:acme/ci|minute|2026-11-25T12:00Z",
        "tokens|tenant:acme|minute|2026-11-25T12:00Z",
        "microusd|tenant:acme|hour|2026-11-25T12:00Z",
        "microusd|tenant:acme|day|2026-11-25@Asia/Tokyo",
        "microusd|tenant:acme|month|2026-11@Asia/Tokyo",
        "microusd|key:acme/ci|day|2026-11-25@Asia/Tokyo",
        "microusd|user:acme/kim|month|2026-11@Asia/Tokyo",
    ]


def test_without_limits_there_are_no_accounts() -> None:
    assert keys(Caller(tenant="acme", key="ci", user="kim"), NO_LIMITS) == []
    assert not NO_LIMITS.has_accounts
    assert not Limits(max_request_tokens=5).has_accounts


def test_calls_without_the_name_of_a_key_share_one_that_nobody_can_name() -> None:
    limits = Limits(key_rpm=10)
    nameless = keys(Caller(tenant="acme"), limits)
    assert nameless == keys(Caller(tenant="acme", user="kim"), limits)
    assert nameless not in [keys(Caller(tenant="acme", key=key), limits) for key in ("none", "-")]


def test_calls_without_a_user_have_no_soft_budget() -> None:
    soft = Limits(user_microusd_per_month=5)
    assert keys(Caller(tenant="acme"), soft) == []
    (only,) = AccountBook().of(Caller(tenant="acme", user="kim"), soft, now_s=NOON)
    assert only.account.is_soft
    assert only.name == "user kim of tenant acme: soft budget of the month"


def test_a_soft_budget_alone_never_stops_a_call() -> None:
    soft = Limits(user_microusd_per_month=5)
    assert (soft.has_accounts, soft.has_hard_cap) == (True, False)
    assert Limits(rpm=0).has_hard_cap


def test_names_that_look_like_others_share_no_account() -> None:
    limits = Limits(key_rpm=1)
    assert keys(Caller(tenant="a/b", key="c"), limits) != keys(
        Caller(tenant="a", key="b/c"), limits
    )
