"""API keys: what one looks like, the file that knows them, and checking one.

A key is `rk_<8 letters or digits>_<43 characters>`: its id and its secret. The file
`<state>/keys.json`, or where ROUTER_KEYS says, holds the SHA-256 of each secret. A plain hash is
right here, and quick enough for every call: 256 random bits can't be guessed, unlike passwords.

A file that lists any key, even a revoked or expired one, asks every caller for a key.
"""

import hashlib
import hmac
import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from router_serving.errors import KeysError
from router_serving.settings import Settings
from router_serving.watch import state_in

KEYS_FILE: Final = "keys.json"
ANY_TENANT: Final = "*"
Scope = Literal["route", "outcomes", "read", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("route", "outcomes", "read", "admin")
# More than the file of a large company's keys; whatever is bigger is no such file.
MAX_FILE_BYTES: Final = 64 * 1024 * 1024

_ID_CHARS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH: Final = len("rk_12345678")
_SECRET_BYTES: Final = 32
# The digest of no secret: an unknown id costs as much time as a wrong secret.
_NO_DIGEST: Final = bytes(32)

_Moment = Annotated[datetime, Meta(tz=True)]
_Name = Annotated[str, Meta(max_length=256)]


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key as the file holds it; `tenant` "*" may speak for any tenant.

    `replaced_by` is the id of the key that a rotation made; this one then expires after its grace.
    """

    id: Annotated[str, Meta(pattern=r"\Ark_[a-z0-9]{8}\Z")]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    tenant: Annotated[str, Meta(min_length=1, max_length=256)]
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    created: _Moment
    name: _Name = ""
    expires: _Moment | None = None
    revoked: _Moment | None = None
    replaced_by: str | None = None

    def state(self, now: datetime) -> str:
        """In one word what the key is good for: active, rotated, expired or revoked."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        return "active" if self.replaced_by is None else "rotated"


class KeysContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    keys: tuple[Key, ...] = ()
    version: Literal[1] = 1


class Known(Struct, frozen=True):
    """What checking needs of a key; `expires_s` in Unix seconds, 0 for a revoked one."""

    id: str
    digest: bytes
    tenant: str | None
    scopes: frozenset[Scope]
    expires_s: float


class KeyRing(Struct, frozen=True):
    """The keys of one state of the file; `fingerprint` changes when the file does."""

    known: Mapping[str, Known] = {}
    fingerprint: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.known)

    def find(self, text: str, *, now_s: float) -> Known | None:
        """The key that `text` is, None for one that is unknown, wrong, revoked or expired.

        Takes the same time for an unknown id as for a wrong secret.
        """
        known = self.known.get(text[:_ID_LENGTH])
        secret = text[_ID_LENGTH + 1 :]
        digest = _NO_DIGEST if known is None else known.digest
        is_right = hmac.compare_digest(_digest(secret), digest)
        if known is None or not is_right or text[_ID_LENGTH : _ID_LENGTH + 1] != "_":
            return None
        return known if now_s < known.expires_s else None


class NewKey(Struct, frozen=True):
    """A key that was just made; `text` is the only place where its secret stands."""

    key: Key
    text: str


def new_key(
    *,
    tenant: str,
    scopes: Sequence[Scope],
    now: datetime,
    name: str = "",
    expires: datetime | None = None,
    taken: frozenset[str] = frozenset(),
) -> NewKey:
    """A fresh key, with an id that is not among the `taken` ones."""
    key_id = _fresh_id()
    while key_id in taken:
        key_id = _fresh_id()
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key = Key(
        id=key_id,
        sha256=_digest(secret).hex(),
        tenant=tenant,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        created=now,
        name=name,
        expires=expires,
    )
    return NewKey(key, f"{key_id}_{secret}")


def keys_path(settings: Settings) -> Path:
    """Where the file lies."""
    return settings.keys or settings.state_dir / KEYS_FILE


def read_keys(path: Path) -> KeysContent:
    """What the file says; KeysError names it and what is wrong, FileNotFoundError if it is not."""
    return _read(path)[0]


def load_keys(settings: Settings) -> KeyRing:
    """The keys in the file, none where there is no file and none was named.

    Raises KeysError naming the file and what is wrong with it.
    """
    path = keys_path(settings)
    try:
        content, fingerprint = _read(path)
    except FileNotFoundError:
        if settings.keys is None:
            return KeyRing()
        raise KeysError(f"{path}: no such file, expected that of ROUTER_KEYS") from None
    return KeyRing({key.id: known_of(key) for key in content.keys}, fingerprint)


def known_of(key: Key) -> Known:
    """A key as it is checked; admin includes every scope."""
    expires_s = float("inf") if key.expires is None else key.expires.timestamp()
    return Known(
        id=key.id,
        digest=bytes.fromhex(key.sha256),
        tenant=None if key.tenant == ANY_TENANT else key.tenant,
        scopes=frozenset(SCOPES if "admin" in key.scopes else key.scopes),
        expires_s=0.0 if key.revoked is not None else expires_s,
    )


def utc_now() -> datetime:
    """This moment, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def _read(path: Path) -> tuple[KeysContent, tuple[int, ...]]:
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            content = msgspec.json.decode(file.read(MAX_FILE_BYTES), type=KeysContent)
    except FileNotFoundError:
        raise
    # The messages of msgspec name the place; a value only where it is one of a few words.
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeysError(f"{path}: can't be used: {error}") from None
    counts = Counter(key.id for key in content.keys)
    if twice := [key_id for key_id, count in counts.items() if count > 1]:
        raise KeysError(f"{path}: {twice[0]} is listed twice, expected each id once")
    return content, state_in(stat)


def _fresh_id() -> str:
    return "rk_" + "".join(secrets.choice(_ID_CHARS) for _ in range(8))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
