import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from router_serving import keys_file
from router_serving.access import (
    ANYBODY,
    Access,
    Rights,
    checked_keys,
    key_in,
    keys_watcher,
)
from router_serving.errors import ForbiddenError, KeysError, StartError, UnauthorizedError
from router_serving.keys import SCOPES, Scope, load_keys
from router_serving.settings import Settings

NOW = datetime.now(UTC)


def key_of(folder: Path, *scopes: Scope, tenant: str = "acme", **changes: Any) -> str:
    """A fresh key in the file of a state folder."""
    file = folder / "keys.json"
    allowed = scopes or ("route",)
    return keys_file.create(file, tenant=tenant, scopes=allowed, now=NOW, **changes).text


def access_of(folder: Path) -> Access:
    return Access(load_keys(Settings(state_dir=folder)))


def test_the_key_is_in_its_own_header_or_a_bearer_of_ours() -> None:
    assert key_in({"x-router-api-key": " rk_a "}) == "rk_a"
    for value in ("Bearer rk_a", "bearer  rk_a ", "BEARER rk_a"):
        assert key_in({"authorization": value}) == "rk_a"
    assert key_in({"x-router-api-key": "rk_a", "authorization": "Bearer rk_b"}) == "rk_a"
    assert key_in({"x-router-api-key": "", "authorization": "Bearer rk_b"}) == ""
    for value in ("Bearer sk-a", "Basic rk_a", "rk_a", "Bearer", "Bearer x rk_a", ""):
        assert key_in({"authorization": value}) is None
    assert key_in({"x-router-key": "rk_a"}) is None


def test_without_keys_everybody_may_do_everything(tmp_path: Path) -> None:
    access = access_of(tmp_path)
    assert access.is_keyless
    for scope in SCOPES:
        assert access.rights({"x-router-tenant": "any", "x-router-api-key": "x"}, scope) == ANYBODY
    ANYBODY.check_tenant("any", "tenant")
    ANYBODY.check_any_tenant()


def test_every_key_that_is_not_good_gets_the_same_answer(tmp_path: Path) -> None:
    good = key_of(tmp_path)
    expired = key_of(tmp_path, lifetime=timedelta(seconds=-1))
    revoked = key_of(tmp_path)
    keys_file.revoke(tmp_path / "keys.json", revoked[:11], now=NOW)
    access = access_of(tmp_path)
    assert access.rights({"x-router-api-key": good}, "route") == Rights(good[:11], "acme")
    sent = [
        *({}, {"authorization": "Bearer sk-provider"}, {"x-router-api-key": ""}),
        *({"x-router-api-key": key} for key in (good[:-1], "rk_00000000" + good[11:], expired)),
        {"authorization": f"Bearer {revoked}"},
    ]
    messages = set()
    for headers in sent:
        with pytest.raises(UnauthorizedError) as caught:
            access.rights(headers, "route")
        messages.add(str(caught.value))
    (message,) = messages
    assert message == (
        "x-router-api-key: got no valid key, expected one here or in Authorization: Bearer"
    )


def test_a_key_has_its_scopes_and_admin_has_all(tmp_path: Path) -> None:
    keys: dict[Scope, str] = {scope: key_of(tmp_path, scope) for scope in SCOPES}
    access = access_of(tmp_path)
    for held, key in keys.items():
        for scope in SCOPES:
            headers = {"authorization": f"Bearer {key}"}
            if held in (scope, "admin"):
                assert access.rights(headers, scope).key == key[:11]
                continue
            with pytest.raises(ForbiddenError, match=f"lacks the scope '{scope}'"):
                access.rights(headers, scope)


def test_a_key_of_one_tenant_takes_no_other(tmp_path: Path) -> None:
    own, gateway = key_of(tmp_path), key_of(tmp_path, tenant="*")
    access = access_of(tmp_path)
    assert access.rights({"x-router-api-key": own, "x-router-tenant": "acme"}, "route").tenant
    messages = set()
    for tenant in ("other", "default", "", "acme ", "ACME", "*"):
        headers = {"x-router-api-key": own, "x-router-tenant": tenant}
        with pytest.raises(ForbiddenError) as caught:
            access.rights(headers, "route")
        messages.add(str(caught.value))
        rights = access.rights(headers | {"x-router-api-key": gateway}, "route")
        assert rights == Rights(gateway[:11], None)
    assert len(messages) == 1
    rights = Rights("rk_ab12cd34", "acme")
    for value in (None, "acme"):
        rights.check_tenant(value, "caller.tenant")
    with pytest.raises(ForbiddenError, match=r"caller\.tenant: names another tenant"):
        rights.check_tenant(["acme"], "caller.tenant")
    with pytest.raises(ForbiddenError, match="bound to a tenant"):
        rights.check_any_tenant()


def test_others_than_this_machine_need_a_key_or_an_explicit_word(tmp_path: Path) -> None:
    public = {"state_dir": tmp_path, "host": "0.0.0.0"}
    with pytest.raises(StartError, match=r"router-serve keys create.*--allow-keyless"):
        checked_keys(Settings(**public))  # type: ignore[arg-type]  # mixed values
    checked_keys(Settings(**public, allow_keyless=True))  # type: ignore[arg-type]  # mixed values
    checked_keys(Settings(state_dir=tmp_path))
    key_of(tmp_path)
    assert len(checked_keys(Settings(**public))) == 1  # type: ignore[arg-type]  # mixed values


def test_a_changed_file_is_taken_and_a_bad_one_leaves_the_old(tmp_path: Path) -> None:
    counts: list[str] = []
    access = access_of(tmp_path)
    watcher = keys_watcher(Settings(state_dir=tmp_path), access=access, counted=counts.append)

    def looked() -> str | None:
        asyncio.run(watcher.look())
        asyncio.run(watcher.look())
        return watcher.last_error

    assert looked() is None
    first = key_of(tmp_path)
    headers = {"x-router-api-key": first}
    assert access.is_keyless
    assert looked() is None
    assert (access.rights(headers, "route").tenant, counts) == ("acme", ["swapped"])

    file = tmp_path / "keys.json"
    content = file.read_text()
    file.write_text(content.replace('"route"', '"write"'))
    assert "'write'" in (looked() or "")
    assert access.rights(headers, "route").tenant == "acme"
    file.unlink()
    assert re.search("no key any more", looked() or "")
    file.write_text(json.dumps({"keys": []}))
    assert re.search("no key any more", looked() or "")
    assert access.rights(headers, "route").tenant == "acme"
    assert counts == ["swapped", "refused", "refused", "refused"]

    file.write_text(content)
    keys_file.revoke(file, first[:11], now=NOW)
    assert looked() is None
    assert not access.is_keyless
    with pytest.raises(UnauthorizedError):
        access.rights(headers, "route")


def test_a_file_that_was_read_at_the_start_is_not_read_again(tmp_path: Path) -> None:
    key_of(tmp_path)
    counts: list[str] = []
    settings = Settings(state_dir=tmp_path)
    access = Access(checked_keys(settings))
    watcher = keys_watcher(settings, access=access, counted=counts.append)
    asyncio.run(watcher.look())
    assert counts == []


def test_a_bad_file_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(KeysError, match="can't be used"):
        checked_keys(Settings(state_dir=tmp_path))
