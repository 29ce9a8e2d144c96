import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_data.prices import shipped_catalog
from router_model.errors import InvalidRequestError, MalformedJsonError
from router_model.overrides import UnknownModelsError
from router_model.types import Caller, PolicyOverrides, WireFormat
from router_serving.access import Rights
from router_serving.envelope import (
    bare,
    caller_of,
    is_envelope,
    opened,
    overrides_of,
)
from router_serving.errors import ForbiddenError

CATALOG = shipped_catalog()
KNOWN = next(iter(CATALOG.models))
REQUEST = {"messages": [{"role": "user", "content": "hi"}]}


def envelope(**members: Any) -> bytes:
    return json.dumps({"request": REQUEST, **members}).encode()


def test_the_request_keeps_its_bytes() -> None:
    inner = b'{"messages" : [ {"role":"user",  "content":"h\\u00e9"} ] }'
    call = opened(b'{"request":' + inner + b"}", {}, catalog=CATALOG)
    assert call.body == inner
    assert call.prefix == "request."


def test_a_bare_body_is_not_an_envelope_even_if_it_speaks_of_one() -> None:
    assert not is_envelope(json.dumps(REQUEST).encode())
    assert not is_envelope(b'{"messages": [{"request": 1}]}')
    assert is_envelope(b'\n { "policy" : {}, "request": {} }')


def test_members_win_over_headers_and_headers_fill_what_is_missing() -> None:
    headers = {
        "x-router-tenant": "from-header",
        "x-router-user": "kim",
        "x-router-format": "gemini",
    }
    call = opened(
        envelope(caller={"tenant": "acme"}, format="openai.chat"), headers, catalog=CATALOG
    )
    assert call.caller == Caller(tenant="acme", user="kim")
    assert call.wire_format is WireFormat.OPENAI_CHAT


def test_a_key_of_one_tenant_fills_in_tenant_and_key() -> None:
    rights = Rights("rk_ab12cd34", "acme")
    filled = Caller(tenant="acme", key="rk_ab12cd34")
    assert bare(b"{}", {}, catalog=CATALOG, rights=rights).caller == filled
    assert opened(envelope(), {}, catalog=CATALOG, rights=rights).caller == filled
    own = {"tenant": "acme", "key": "ci", "user": "kim"}
    call = opened(envelope(caller=own), {}, catalog=CATALOG, rights=rights)
    assert call.caller == Caller(tenant="acme", key="ci", user="kim")
    gateway = Rights("rk_ab12cd34", None)
    assert bare(b"{}", {}, catalog=CATALOG, rights=gateway).caller == Caller()


@pytest.mark.parametrize("tenant", ["other", "default", "*", "ACME"])
def test_a_key_of_one_tenant_takes_no_other(tenant: str) -> None:
    rights = Rights("rk_ab12cd34", "acme")
    with pytest.raises(ForbiddenError, match=r"caller\.tenant: names another tenant"):
        opened(envelope(caller={"tenant": tenant}), {}, catalog=CATALOG, rights=rights)
    with pytest.raises(ForbiddenError, match="x-router-tenant: names another tenant"):
        bare(b"{}", {"x-router-tenant": tenant}, catalog=CATALOG, rights=rights)


@pytest.mark.parametrize("name", ["tenant", "key", "user", "session", "decision_id", "client"])
@pytest.mark.parametrize("around", ["{}", "Bearer {}", "\n{}", "{}" + 300 * "x"])
def test_a_key_in_the_place_of_a_name_is_refused_and_not_shown(name: str, around: str) -> None:
    secret = "s3cr3t_-" * 5 + "abc"
    text = around.format(f"rk_ab12cd34_{secret}")
    with pytest.raises(InvalidRequestError, match="a key goes into x-router-api-key") as caught:
        opened(envelope(caller={name: text}), {}, catalog=CATALOG)
    assert caught.value.field == f"caller.{name}"
    assert "s3cr3t" not in str(caught.value)
    header = "x-router-" + name.replace("_", "-")
    with pytest.raises(InvalidRequestError) as caught:
        bare(b"{}", {header: text}, catalog=CATALOG)
    assert caught.value.field == header
    assert "s3cr3t" not in str(caught.value)


def test_the_id_of_a_key_is_a_name() -> None:
    assert caller_of({"key": "rk_ab12cd34"}, {}).key == "rk_ab12cd34"


def test_headers_alone_describe_a_bare_call() -> None:
    headers = {
        "x-router-key": "k1",
        "x-router-session": "s1",
        "x-router-decision-id": "d-1",
        "x-router-format": "anthropic.messages",
        "x-router-min-adequacy": "0.9",
        "x-router-max-cost-usd": "0.25",
        "x-router-max-tool-call-latency-ms": "1500",
        "x-router-models": f"{KNOWN}, {KNOWN.upper()}",
    }
    call = bare(b"{}", headers, catalog=CATALOG)
    assert call.caller == Caller(key="k1", session="s1", decision_id="d-1")
    assert call.overrides == PolicyOverrides(
        min_adequacy=0.9, max_cost_usd=0.25, max_tool_call_latency_ms=1500.0, models=(KNOWN,)
    )
    assert call.wire_format is WireFormat.ANTHROPIC_MESSAGES


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"policy": {"min_adequacy": 1.5}}, "policy.min_adequacy"),
        ({"policy": {"min_adequacy": "0.9"}}, "policy.min_adequacy"),
        ({"policy": {"min_adequacy": True}}, "policy.min_adequacy"),
        ({"policy": {"max_cost_usd": 0}}, "policy.max_cost_usd"),
        ({"policy": {"max_cost_usd": -1}}, "policy.max_cost_usd"),
        ({"policy": {"max_cost_usd": 10**400}}, "policy.max_cost_usd"),
        ({"policy": {"max_tool_call_latency_ms": []}}, "policy.max_tool_call_latency_ms"),
        ({"policy": {"max_cost": 1}}, "policy.max_cost"),
        ({"policy": {"models": []}}, "policy.models"),
        ({"policy": {"models": KNOWN}}, "policy.models"),
        ({"policy": {"models": [1]}}, "policy.models"),
        ({"policy": 3}, "policy"),
        ({"caller": []}, "caller"),
        ({"caller": {"tenant": 7}}, "caller.tenant"),
        ({"caller": {"tenant": ""}}, "caller.tenant"),
        ({"caller": {"user": "x" * 257}}, "caller.user"),
        ({"caller": {"user": "a\nb"}}, "caller.user"),
        ({"caller": {"decision_id": "a/b"}}, "caller.decision_id"),
        ({"format": "openai"}, "format"),
        ({"format": 5}, "format"),
        ({"format": ["gemini"]}, "format"),
        ({"polcy": {}}, "polcy"),
    ],
)
def test_an_error_names_the_field(members: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        opened(envelope(**members), {}, catalog=CATALOG)
    assert caught.value.field == field
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-router-min-adequacy", "high"),
        ("x-router-min-adequacy", "nan"),
        ("x-router-max-cost-usd", "inf"),
        ("x-router-max-cost-usd", "-1"),
        ("x-router-models", " , "),
        ("x-router-models", "gpt-nonsense"),
        ("x-router-format", "soap"),
        ("x-router-decision-id", "two words"),
    ],
)
def test_an_error_names_the_header(header: str, value: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        bare(b"{}", {header: value}, catalog=CATALOG)
    assert caught.value.field == header


def test_unknown_models_are_all_named_beside_those_that_are_known() -> None:
    with pytest.raises(UnknownModelsError) as caught:
        opened(envelope(policy={"models": [KNOWN, "gpt-0", "gpt-00"]}), {}, catalog=CATALOG)
    assert caught.value.unknown == ["gpt-0", "gpt-00"]
    assert all(model in caught.value.allowed for model in CATALOG.models)


def test_an_alias_and_another_spelling_mean_the_same_model_once() -> None:
    listed = [KNOWN, KNOWN.upper(), f"vendor/{KNOWN}"]
    overrides = overrides_of({"models": listed}, {}, catalog=CATALOG)
    assert overrides.models == (KNOWN,)


def test_what_a_gateway_adds_to_the_caller_is_ignored() -> None:
    assert caller_of({"user": "kim", "call_type": "acompletion", "team": 3}, {}).user == "kim"


def test_null_members_count_as_absent() -> None:
    call = opened(envelope(caller=None, policy=None, format=None), {}, catalog=CATALOG)
    assert call.caller == Caller()
    assert call.overrides == PolicyOverrides()
    assert call.wire_format is None


def test_an_envelope_without_a_request_says_so() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        opened(b'{"caller": {}}', {}, catalog=CATALOG)
    assert caught.value.field == "request"


@pytest.mark.parametrize(
    "body",
    [
        b'{"request": {',
        b'{"request": nope}',
        b'{"request": {}} trailing',
        b'{"caller": "\xff", "request": {}}',
    ],
)
def test_broken_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJsonError):
        opened(body, {}, catalog=CATALOG)


@pytest.mark.parametrize("member", [b"request", b"caller", b"polcy"])
def test_deep_nesting_is_refused_and_not_followed(member: bytes) -> None:
    deep = b"[" * 5_000 + b"]" * 5_000
    with pytest.raises(InvalidRequestError, match="nested"):
        opened(b'{"%b": %b}' % (member, deep), {}, catalog=CATALOG)


def test_a_byte_order_mark_does_not_hide_an_envelope() -> None:
    body = b"\xef\xbb\xbf" + envelope()
    assert is_envelope(body)
    assert json.loads(opened(body, {}, catalog=CATALOG).body) == REQUEST


def test_malformed_json_does_not_repeat_the_body() -> None:
    with pytest.raises(MalformedJsonError) as caught:
        opened(b'{"request": {"secret words"', {}, catalog=CATALOG)
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_call_or_an_error_raised_on_purpose(data: bytes) -> None:
    with suppress(InvalidRequestError):
        opened(b'{"request":' + data + b"}", {}, catalog=CATALOG)


def test_a_bound_key_is_limited_as_itself_whatever_it_calls_itself() -> None:
    body = envelope(caller={"key": "another", "user": "kim"})
    bound = opened(body, {}, catalog=CATALOG, rights=Rights("ab12cd34", "acme"))
    assert bound.caller.key == "another"
    assert bound.payer == Caller(tenant="acme", key="ab12cd34", user="kim")
    gateway = opened(body, {}, catalog=CATALOG, rights=Rights("ab12cd34", None))
    assert gateway.payer == gateway.caller


@pytest.mark.parametrize(
    ("member", "field"),
    [
        (b'"policy": {"max_cost_usd": 1, "min_adequacy": 1e999}', "policy.min_adequacy"),
        (b'"policy": {"models": ["a", 1e999]}', "policy.models"),
        (b'"caller": {"user": -1e999}', "caller.user"),
    ],
)
def test_a_number_out_of_range_is_refused_by_the_name_of_its_member(
    member: bytes, field: str
) -> None:
    body = b'{"request": {"messages": []}, ' + member + b"}"
    with pytest.raises(InvalidRequestError) as caught:
        opened(body, {}, catalog=CATALOG)
    assert caught.value.field.startswith(field)


def test_a_member_of_countless_members_is_refused() -> None:
    many = {str(n): n for n in range(1_001)}
    for name in ("caller", "policy"):
        with pytest.raises(InvalidRequestError, match=f"^{name}: got '1001 members'"):
            opened(envelope(**{name: many}), {}, catalog=CATALOG)


def test_members_of_the_caller_that_nobody_reads_are_not_looked_into() -> None:
    body = b'{"request": {"messages": []}, "caller": {"user": "kim", "other": [1e999]}}'
    assert opened(body, {}, catalog=CATALOG).caller == Caller(user="kim")


@pytest.mark.parametrize("value", [b"[]", b"3", b'"text"', b"true"])
@pytest.mark.parametrize("name", ["caller", "policy"])
def test_a_member_that_is_no_object_is_refused(name: str, value: bytes) -> None:
    body = b'{"request": {}, "%b": %b}' % (name.encode(), value)
    with pytest.raises(InvalidRequestError, match=f"^{name}: got .*, expected an object"):
        opened(body, {}, catalog=CATALOG)
