import json
from types import SimpleNamespace
from typing import Any

import pytest

from router_model.types import WireFormat
from router_serving.gateways.litellm_request import (
    body_of,
    caller_of,
    group_of,
    groups_of,
    named_to_router,
    session_headers,
    tenant_of,
)
from router_serving.gateways.settings import GatewaySettings

PLAIN = GatewaySettings()
NAMES = ["auto", "fast", "strong", "openai/*"]


def _key(**known: Any) -> SimpleNamespace:
    nothing = dict.fromkeys(("team_id", "key_alias", "api_key", "user_id", "end_user_id"))
    return SimpleNamespace(**{**nothing, "models": [], "team_models": [], **known})


def _data(body: dict[str, Any], **headers: str) -> dict[str, Any]:
    return {**body, "proxy_server_request": {"body": body, "headers": headers}}


def test_the_body_is_what_the_client_sent_for_the_model_that_is_asked_for() -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "ö"}], "stream": True}
    data = {**_data(body), "litellm_call_id": "1", "secret_fields": {"key": "sk-1"}}
    found = json.loads(body_of(data, WireFormat.OPENAI_CHAT, model="m"))
    assert found == {**body, "model": "m"}


def test_what_a_guardrail_has_masked_stays_masked() -> None:
    data = _data({"model": "auto", "messages": ["my number is 12345"]})
    data["messages"] = ["my number is <MASKED>"]
    assert b"12345" not in body_of(data, WireFormat.OPENAI_CHAT, model="auto")


def test_the_proxy_s_own_notes_are_left_out_of_the_body() -> None:
    notes = {"user_api_key_hash": "abc", "headers": {}}
    body = {"model": "auto", "litellm_metadata": notes, "_litellm_raw_sse_stream": True}
    chat = {**body, "metadata": {**notes, "requester_metadata": {"session_id": "s-1"}}}
    found = json.loads(body_of(_data(chat), WireFormat.OPENAI_CHAT, model="auto"))
    assert found == {"model": "auto", "metadata": {"session_id": "s-1"}}
    messages = {**body, "metadata": {"user_id": "u"}}
    found = json.loads(body_of(_data(messages), WireFormat.ANTHROPIC_MESSAGES, model="auto"))
    assert found == {"model": "auto", "metadata": {"user_id": "u"}}


def test_values_that_are_no_json_do_not_fail_the_call() -> None:
    data = _data({"model": "auto", "messages": [], "odd": object()})
    assert json.loads(body_of(data, WireFormat.OPENAI_CHAT, model="auto"))["odd"]


def test_headers_that_name_a_session_are_passed_on_and_no_others() -> None:
    headers = {
        "X-Claude-Code-Session-Id": "c-1",
        "session-id": "s-1",
        "x-session-affinity": "a-1",
        "x-litellm-trace-id": "t-1",
        "authorization": "Bearer sk-1",
        "x-router-tenant": "other",
        "cookie": "session_id=1",
    }
    found = session_headers(_data({}, **headers))
    assert set(found) == {
        "x-claude-code-session-id",
        "session-id",
        "x-session-affinity",
        "x-litellm-trace-id",
    }


def test_the_caller_is_who_the_key_says() -> None:
    key = _key(team_id="acme", key_alias="ci", user_id="kim", end_user_id="somebody")
    found = caller_of(_data({}, **{"user-agent": "cli/1"}), key, settings=PLAIN, headers={})
    assert found == {"tenant": "acme", "key": "ci", "user": "kim", "client": "cli/1"}


def test_the_session_that_litellm_found_counts_where_no_header_names_one() -> None:
    data = {**_data({}), "litellm_session_id": "found-it"}
    assert caller_of(data, _key(), settings=PLAIN, headers={}) == {"session": "found-it"}
    assert caller_of(data, _key(), settings=PLAIN, headers={"session-id": "s"}) == {}


def test_a_key_without_a_name_goes_by_its_hash() -> None:
    hashed = "0" * 64
    assert _caller(_key(api_key=hashed))["key"] == hashed
    plain = _caller(_key(api_key="sk-very-secret"))["key"]
    assert "secret" not in plain
    assert len(plain) == 64


@pytest.mark.parametrize("named", ['{"session_id": "s"}', "", None])
def test_a_user_that_is_none_is_left_out(named: str | None) -> None:
    key = _key(user_id="default_user_id", end_user_id=named)
    assert "user" not in _caller(key)


def test_the_client_s_word_counts_where_the_key_names_nobody() -> None:
    assert _caller(_key(end_user_id="lee"))["user"] == "lee"


def test_names_that_can_t_be_logged_do_not_reach_the_router() -> None:
    found = _caller(_key(key_alias="a\nb", user_id="x" * 300))
    assert "key" not in found
    assert found["user"].startswith("hash:")


def _caller(key: object) -> dict[str, str]:
    return caller_of(_data({}), key, settings=PLAIN, headers={})


def test_the_tenant_comes_from_where_the_settings_say() -> None:
    key = _key(team_id="t", key_alias="a")
    assert tenant_of(key, PLAIN) == "t"
    assert tenant_of(key, GatewaySettings(tenant_from="key_alias")) == "a"
    assert tenant_of(key, GatewaySettings(tenant_from="none")) is None
    assert tenant_of(key, GatewaySettings(tenant="one")) == "one"


@pytest.mark.parametrize(
    ("groups", "key", "expected"),
    [
        ({}, _key(), {"fast": "fast", "strong": "strong"}),
        ({"fast": "m"}, _key(), {"m": "fast"}),
        ({"fast": "m", "openai/x": "x", "gone": "g"}, _key(), {"m": "fast", "x": "openai/x"}),
        ({}, _key(models=["auto", "fast"]), {"fast": "fast"}),
        ({}, _key(models=["auto"]), {"fast": "fast", "strong": "strong"}),
        ({}, _key(models=["all-proxy-models"]), {"fast": "fast", "strong": "strong"}),
        ({}, _key(models=["auto", "cheap ones"]), {"fast": "fast"}),
        ({}, _key(models=["auto", "st*"]), {"strong": "strong"}),
        ({}, _key(models=["auto", "fast"], team_models=["strong"]), {}),
        ({}, _key(models=["auto", "elsewhere"]), {}),
    ],
)
def test_only_models_that_the_proxy_has_and_the_key_may_use_are_chosen(
    groups: dict[str, str], key: object, expected: dict[str, str]
) -> None:
    settings = GatewaySettings(groups=groups)
    access = {"cheap ones": ["fast"]}
    assert groups_of(NAMES, key, settings=settings, access=access) == expected


@pytest.mark.parametrize(
    ("asked_for", "told"),
    [
        ("fast", "gpt-5.4"),
        ("my-finetune", "my-finetune"),
        ("auto", "auto"),
        ("router-auto", "auto"),
    ],
)
def test_the_router_is_told_the_catalogs_name_or_auto(asked_for: str, told: str) -> None:
    settings = GatewaySettings(auto_models=frozenset({"*", "router-auto"}))
    assert named_to_router(asked_for, {"gpt-5.4": "fast"}, settings=settings) == told


def test_a_client_that_keeps_its_own_model_gets_the_name_that_it_asked_for() -> None:
    models = {"gpt-5.4": "fast"}
    assert group_of("gpt-5.4", models, asked_for="fast") == "fast"
    assert group_of("my-finetune", models, asked_for="my-finetune") == "my-finetune"
    assert group_of("grok-4.3", models, asked_for="auto") is None
