import hmac
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_serving import keys_file
from router_serving.errors import KeysError
from router_serving.keys import (
    Key,
    KeyRing,
    KeysContent,
    NewKey,
    Scope,
    known_of,
    load_keys,
    new_key,
    read_keys,
)
from router_serving.redaction import hidden, holds_secret
from router_serving.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_S = NOW.timestamp()
DAY = timedelta(days=1)


def made(**changes: Any) -> NewKey:
    given: dict[str, Any] = {"tenant": "acme", "scopes": ("route",), "now": NOW}
    return new_key(**given | changes)


def ring_of(*keys: Key) -> KeyRing:
    return KeyRing({key.id: known_of(key) for key in keys})


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(state_dir=folder, **changes)


def kept(
    folder: Path, *, scopes: tuple[Scope, ...] = ("route",), lifetime: timedelta | None = None
) -> NewKey:
    """A key in the file of this state folder."""
    path = folder / "keys.json"
    return keys_file.create(path, tenant="acme", scopes=scopes, now=NOW, lifetime=lifetime)


def test_a_key_is_an_id_of_8_characters_and_a_secret_of_43() -> None:
    key = made()
    prefix, key_id, secret = key.text[:3], key.text[3:11], key.text[12:]
    assert (prefix, len(key_id), key.text[11], len(secret)) == ("rk_", 8, "_", 43)
    assert key.key.id == prefix + key_id
    assert secret not in repr(key.key)


def test_an_id_that_is_taken_is_not_given_again() -> None:
    ids = {made().key.id for _ in range(50)}
    assert len(ids) == 50
    assert made(taken=frozenset(ids)).key.id not in ids


def test_a_key_is_found_and_nothing_like_it() -> None:
    key, other = made(), made()
    ring = ring_of(key.key, other.key)
    found = ring.find(key.text, now_s=NOW_S)
    assert found is not None
    assert (found.id, found.tenant, {*found.scopes}) == (key.key.id, "acme", {"route"})
    wrong = [
        *("", "rk_", key.key.id, key.text[:-1], key.text + "x", key.text.upper(), " " + key.text),
        key.key.id + "_" + other.text[12:],
        key.text[:11] + "-" + key.text[12:],
        "rk_00000000" + key.text[11:],
        key.text[:-1] + "\u00e9",
        key.text[:-1] + "\ud800",
    ]
    for text in wrong:
        assert ring.find(text, now_s=NOW_S) is None, text


@given(text=st.text(max_size=80))
def test_no_text_is_a_key_by_chance(text: str) -> None:
    assert ring_of(made().key).find(text, now_s=NOW_S) is None


def test_unknown_ids_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", counting)
    key = made()
    ring = ring_of(key.key)
    for text in (key.text, key.text[:-1] + "x", made().text, "rk_", "nothing"):
        ring.find(text, now_s=NOW_S)
    assert compared == [(32, 32)] * 5


def test_admin_includes_every_scope_and_a_star_every_tenant() -> None:
    known = known_of(made(tenant="*", scopes=("admin",)).key)
    assert known.tenant is None
    assert known.scopes == {"route", "outcomes", "read", "admin"}


def test_a_key_expires_at_its_moment() -> None:
    key = made(expires=NOW + DAY)
    ring = ring_of(key.key)
    ends_s = (NOW + DAY).timestamp()
    assert ring.find(key.text, now_s=ends_s - 0.001) is not None
    assert ring.find(key.text, now_s=ends_s) is None
    assert [key.key.state(NOW), key.key.state(NOW + DAY)] == ["active", "expired"]


def test_without_a_file_there_are_no_keys(tmp_path: Path) -> None:
    assert len(load_keys(settings(tmp_path))) == 0
    with pytest.raises(KeysError, match=r"own\.json: no such file, expected that of ROUTER_KEYS"):
        load_keys(settings(tmp_path, keys=tmp_path / "own.json"))


def test_what_was_made_is_read_again(tmp_path: Path) -> None:
    key = kept(tmp_path / "new" / "state", scopes=("outcomes", "route"), lifetime=DAY)
    path = tmp_path / "new" / "state" / "keys.json"
    assert read_keys(path).keys == (key.key,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.text[12:] not in path.read_text()
    found = load_keys(settings(path.parent)).find(key.text, now_s=NOW_S)
    assert found is not None
    assert found.scopes == {"route", "outcomes"}
    assert sorted(p.name for p in path.parent.iterdir()) == [".keys.json.lock", "keys.json"]


def test_a_file_gets_its_mode_whatever_it_was_before(tmp_path: Path) -> None:
    kept(tmp_path)
    path = tmp_path / "keys.json"
    path.chmod(0o644)
    kept(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_keys(path).keys) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_owner_of_the_state(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1234)
    kept(tmp_path)
    for name in ("keys.json", ".keys.json.lock"):
        assert (tmp_path / name).stat().st_uid == 1234


def test_a_lock_that_is_a_link_gives_nothing_away(tmp_path: Path) -> None:
    # Root gave what it led to, any file of the machine, to the owner of the state.
    state, foreign = tmp_path / "state", tmp_path / "foreign"
    state.mkdir()
    foreign.write_text("of root alone")
    (state / ".keys.json.lock").symlink_to(foreign)
    if os.geteuid() == 0:
        os.chown(state, 12_345, 12_345)
    with pytest.raises(KeysError, match=r"keys\.json: can't be written"):
        kept(state)
    assert foreign.stat().st_uid == os.geteuid()
    (state / ".keys.json.lock").unlink()
    os.link(foreign, state / ".keys.json.lock")
    with pytest.raises(KeysError, match="expected a file with one name"):
        kept(state)
    assert foreign.stat().st_uid == os.geteuid()


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "keys.json").symlink_to(tmp_path / "real" / "keys.json")
    kept(tmp_path)
    assert (tmp_path / "keys.json").is_symlink()
    assert len(read_keys(tmp_path / "real" / "keys.json").keys) == 1


ENTRY: dict[str, Any] = {
    "id": "rk_ab12cd34",
    "sha256": "0" * 64,
    "tenant": "acme",
    "scopes": ["route"],
    "created": "2026-03-01T12:00:00Z",
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated"),
        ("{", "truncated"),
        ("[]", "Expected `object`, got `array`"),
        ('{"key": []}', "unknown field `key`"),
        ('{"version": 2}', r"2.*\$\.version"),
        ('{"keys": [{}]}', r"missing required field `id` - at `\$\.keys\[0\]`"),
        ({"id": "rk_AB12cd34"}, r"\$\.keys\[0\]\.id"),
        ({"id": "rk_ab12cd34\n"}, r"\$\.keys\[0\]\.id"),
        ({"sha256": "secret"}, r"\$\.keys\[0\]\.sha256"),
        ({"secret": "s3cr3t"}, r"unknown field `secret`"),
        ({"tenant": ""}, r"\$\.keys\[0\]\.tenant"),
        ({"scopes": []}, r"\$\.keys\[0\]\.scopes"),
        ({"scopes": ["write"]}, r"'write' - at `\$\.keys\[0\]\.scopes\[0\]`"),
        ({"created": "2026-03-01T12:00:00"}, r"\$\.keys\[0\]\.created"),
        ({"expires": "tomorrow"}, r"\$\.keys\[0\]\.expires"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_without_its_secrets(
    tmp_path: Path, text: str | dict[str, Any], message: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text if isinstance(text, str) else json.dumps({"keys": [ENTRY | text]}))
    with pytest.raises(KeysError, match=message) as caught:
        load_keys(settings(tmp_path))
    assert str(caught.value).startswith(f"{path}: can't be used: ")
    assert "s3cr3t" not in str(caught.value)
    before = path.read_bytes()
    with pytest.raises(KeysError):
        kept(tmp_path)
    assert path.read_bytes() == before


def test_an_id_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [ENTRY, ENTRY]}))
    with pytest.raises(KeysError, match="rk_ab12cd34 is listed twice"):
        load_keys(settings(tmp_path))


def test_a_folder_in_the_place_of_the_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(KeysError, match="can't be used"):
        load_keys(settings(tmp_path))
    with pytest.raises(KeysError, match="can't be"):
        kept(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysError, match="can't be written"):
        kept(tmp_path / "file")


def test_a_revoked_key_stays_listed_and_is_good_for_nothing(tmp_path: Path) -> None:
    key = kept(tmp_path)
    path = tmp_path / "keys.json"
    assert keys_file.revoke(path, key.key.id, now=NOW).revoked == NOW
    assert keys_file.revoke(path, key.key.id, now=NOW + DAY).revoked == NOW
    ring = load_keys(settings(tmp_path))
    assert len(ring) == 1
    assert ring.find(key.text, now_s=NOW_S) is None
    with pytest.raises(KeysError, match="rk_00000000: no such key in"):
        keys_file.revoke(path, "rk_00000000", now=NOW)


def test_a_rotated_key_is_good_until_its_grace_is_over(tmp_path: Path) -> None:
    old = kept(tmp_path, scopes=("route", "read"))
    path = tmp_path / "keys.json"
    new = keys_file.rotate(path, old.key.id, now=NOW, grace=DAY)
    ring, ends_s = load_keys(settings(tmp_path)), (NOW + DAY).timestamp()
    assert ring.find(old.text, now_s=ends_s - 1.0) is not None
    assert ring.find(old.text, now_s=ends_s) is None
    found = ring.find(new.text, now_s=ends_s)
    assert found is not None
    assert (found.tenant, {*found.scopes}) == ("acme", {"route", "read"})
    listed = {key.id: key for key in read_keys(path).keys}
    assert listed[old.key.id].replaced_by == new.key.id
    assert listed[old.key.id].state(NOW) == "rotated"
    with pytest.raises(KeysError, match=f"is rotated .{new.key.id} follows it., expected"):
        keys_file.rotate(path, old.key.id, now=NOW, grace=DAY)


def test_a_rotation_gives_no_key_more_time_than_it_had(tmp_path: Path) -> None:
    old = kept(tmp_path, lifetime=timedelta(hours=1))
    path = tmp_path / "keys.json"
    later = NOW + timedelta(minutes=30)
    new = keys_file.rotate(path, old.key.id, now=later, grace=DAY)
    listed = {key.id: key for key in read_keys(path).keys}
    assert listed[old.key.id].expires == NOW + timedelta(hours=1)
    assert new.key.expires == later + timedelta(hours=1)


def test_a_key_that_is_over_is_not_rotated(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    expired, revoked = kept(tmp_path, lifetime=DAY), kept(tmp_path)
    keys_file.revoke(path, revoked.key.id, now=NOW)
    for key, state in ((expired, "expired"), (revoked, "revoked")):
        with pytest.raises(KeysError, match=f"is {state}, expected an active key"):
            keys_file.rotate(path, key.key.id, now=NOW + DAY, grace=DAY)


def test_commands_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    many = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from router_serving import keys_file
for _ in range(25):
    made = keys_file.create(
        Path(sys.argv[1]), tenant="t", scopes=("route",), now=datetime.now(UTC))
    print(made.key.id)
"""
    path = tmp_path / "keys.json"
    processes = [
        subprocess.Popen([sys.executable, "-c", many, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = [line for process in processes for line in process.communicate()[0].split()]
    assert len(told) == 100
    assert sorted(key.id for key in read_keys(path).keys) == sorted(told)


def test_a_file_without_keys_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    assert read_keys(tmp_path / "keys.json") == KeysContent()
    assert len(load_keys(settings(tmp_path))) == 0


def test_secrets_are_seen_and_hidden_in_any_text() -> None:
    text = made().text
    for shown in (text, f"Bearer {text}", text.upper(), text[:40], f"x={text}&y"):
        assert holds_secret(shown), shown
        assert text[12:] not in hidden(shown)
        assert text.upper()[12:] not in hidden(shown)
    for name in ("ci", text[:11], "rk_team_production", "fork_ab12cd34_me"):
        assert not holds_secret(name)
        assert hidden(name) == name
