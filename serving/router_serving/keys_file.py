"""Changes to the file of keys, one writer at a time, each on disk before it counts."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import structs

from router_serving.errors import KeysError
from router_serving.keys import Key, KeysContent, NewKey, Scope, new_key, read_keys


def create(
    path: Path,
    *,
    tenant: str,
    scopes: tuple[Scope, ...],
    now: datetime,
    name: str = "",
    lifetime: timedelta | None = None,
) -> NewKey:
    """Make a key and put it into the file, which is made where there is none."""
    with _changing(path) as keys:
        made = new_key(
            tenant=tenant,
            scopes=scopes,
            now=now,
            name=name,
            expires=None if lifetime is None else now + lifetime,
            taken=frozenset(keys),
        )
        keys[made.key.id] = made.key
    return made


def revoke(path: Path, key_id: str, *, now: datetime) -> Key:
    """Make a key useless at once; it stays listed. KeysError if there is none with this id."""
    with _changing(path) as keys:
        key = _listed(path, keys, key_id)
        keys[key_id] = key if key.revoked is not None else structs.replace(key, revoked=now)
        return keys[key_id]


def rotate(path: Path, key_id: str, *, now: datetime, grace: timedelta) -> NewKey:
    """Make a key with the rights of another one, which expires after `grace`.

    A key that was made to expire is followed by one that lives as long. KeysError for a key that
    is not in use any more.
    """
    with _changing(path) as keys:
        old = _listed(path, keys, key_id)
        if (state := old.state(now)) != "active":
            follower = f" ({old.replaced_by} follows it)" if old.replaced_by else ""
            raise KeysError(f"{key_id}: is {state}{follower}, expected an active key")
        made = new_key(
            tenant=old.tenant,
            scopes=old.scopes,
            now=now,
            name=old.name,
            expires=None if old.expires is None else now + (old.expires - old.created),
            taken=frozenset(keys),
        )
        ends = now + grace
        keys[key_id] = structs.replace(
            old,
            expires=ends if old.expires is None else min(ends, old.expires),
            replaced_by=made.key.id,
        )
        keys[made.key.id] = made.key
    return made


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Key]]:
    """The keys by id, to be changed; written when the block ends well, under one lock."""
    try:
        path = path.resolve()  # what a link leads to is replaced, not the link
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            try:
                content = read_keys(path)
            except FileNotFoundError:
                content = KeysContent()
            keys = {key.id: key for key in content.keys}
            yield keys
            _replace(path, KeysContent(keys=tuple(keys.values())))
    except OSError as error:
        raise KeysError(f"{path}: can't be written: {error.strerror or error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone with the file. The lock is on a file beside it, as the file itself is replaced."""
    lock = path.with_name(f".{path.name}.lock")
    # No link is followed: the service may write into the folder, and root may work in it.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(lock, flags, 0o600)
    try:
        if os.fstat(descriptor).st_nlink != 1:
            raise KeysError(f"{lock}: is another file as well, expected a file with one name")
        _give_to_owner(descriptor, path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, content: KeysContent) -> None:
    """Put a new file in the place of the old one; after a crash, one of the two is there."""
    text = msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as written:  # noqa: PTH123  # a descriptor, not a path
            _give_to_owner(descriptor, path)
            written.write(text)
            written.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give_to_owner(descriptor: int, path: Path) -> None:
    """Let the service read what root writes: the file belongs to the owner of the one before."""
    if os.geteuid() != 0:
        return
    owner = (path if path.exists() else path.parent).stat()
    os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _listed(path: Path, keys: dict[str, Key], key_id: str) -> Key:
    if (key := keys.get(key_id)) is None:
        raise KeysError(f"{key_id}: no such key in {path}; `router-serve keys list` shows them")
    return key
