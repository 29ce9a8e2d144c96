"""Tries a challenger on live traffic: beside the champion (shadow) or with a share of sessions.

`<state>/rollout.json` is what the service reads, `<state>/challenger` the artifact that it names.
The service writes into the file too when it stops a canary; MLflow learns of it when the status
is looked at. Whatever happens to a version is in its tags: `rollout` (the mode), the times
`rollout_shadow_ms`, `rollout_canary_ms`, `rollout_stopped_ms`, `rollout_off_ms`, and the reason.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from router_model.artifact import read_manifest
from router_model.errors import RouterError
from router_training.atomic import write_atomic
from router_training.registry import Registry, Version

ROLLOUT_FILE = "rollout.json"
CHALLENGER_FOLDER = "challenger"
Mode = Literal["off", "shadow", "canary", "stopped"]


class RolloutError(RouterError):
    """A rollout that can't be started or read; names the file, the value and what is allowed."""

    code = "invalid_rollout"


class RolloutFile(Struct, frozen=True, kw_only=True):
    """What the file says. `artifact` is a folder, relative to the state folder or absolute.

    A canary takes `share` of the sessions. The service stops it when, with confidence 1 - `delta`
    and after `min_outcomes` sessions, it fails more often than the champion by over `margin`.
    `version` is the registry's number, `since_ms` the time at which the mode began.
    """

    mode: Mode = "off"
    share: float = 0.0
    artifact: str = ""
    margin: float = 0.02
    delta: float = 0.05
    min_outcomes: int = 100
    reason: str = ""
    shadow: bool = False
    version: str = ""
    since_ms: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("share", 0.0, 1.0), ("margin", 0.0, 1.0), ("delta", 1e-6, 0.5)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise RolloutError(f"{name}: got {value}, expected {low:g} to {high:g}")
        if self.min_outcomes < 1:
            raise RolloutError(f"min_outcomes: got {self.min_outcomes}, expected at least 1")
        if self.mode == "canary" and self.share <= 0:
            raise RolloutError(f"share: got {self.share}, a canary needs more than 0")


def read_rollout(state: Path) -> RolloutFile:
    """What the file of a state folder says, "off" where there is none."""
    path = state / ROLLOUT_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RolloutFile)
    except FileNotFoundError:
        return RolloutFile()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RolloutError(f"{path}: can't be used: {error}") from error


def is_off(state: Path) -> bool:
    """True when the file says so, or is not there; a damaged one has to be written anew."""
    try:
        return read_rollout(state).mode == "off"
    except RolloutError:
        return False


def start(
    wanted: RolloutFile,
    state: Path,
    registry: Registry,
    *,
    check: Callable[[Path], object] | None = None,
) -> RolloutFile:
    """Export the challenger and put the wanted mode, "shadow" or "canary", into the file.

    `check` may refuse the artifact by raising; then nothing changes. A version that the service
    has stopped may be tried again.
    """
    if wanted.mode not in ("shadow", "canary"):
        raise RolloutError(f"mode: got {wanted.mode!r}, expected shadow or canary")
    version = registry.export("challenger", state / CHALLENGER_FOLDER, check=check)
    file = replace(
        wanted,
        artifact=CHALLENGER_FOLDER,
        version=version.number,
        since_ms=time.time_ns() // 1_000_000,
        reason="",
    )
    _write(file, state)
    _copy(file, registry, version)
    return file


def stop(state: Path, registry: Registry, *, reason: str = "by hand") -> RolloutFile:
    """Put "off" into the file, whatever it holds; the champion then decides alone."""
    try:
        before = read_rollout(state)
    except RolloutError:  # the service refuses it too: there is nothing to keep of it
        before = RolloutFile()
    now = time.time_ns() // 1_000_000
    file = replace(before, mode="off", reason=reason, since_ms=now)
    _write(file, state)
    if before.mode == "stopped":
        copy_state(before, state, registry)
    copy_state(file, state, registry)
    return file


def copy_state(file: RolloutFile, state: Path, registry: Registry) -> Version | None:
    """Put the file's mode into the tags of the version that it is about, which is returned.

    None where the file is about no registered version.
    """
    version = version_of(file, state, registry)
    if version is not None and (
        version.tags.get("rollout", "off") != file.mode
        or version.tags.get("rollout_reason", "") != file.reason
    ):
        _copy(file, registry, version)
    return version


def version_of(file: RolloutFile, state: Path, registry: Registry) -> Version | None:
    """The registered version that a file is about, by its number or by the artifact's own."""
    if file.version:
        return registry.numbered(file.version)
    if not file.artifact:
        return None
    return registry.find_tagged("artifact_version", artifact_version(state, file))


def artifact_version(state: Path, file: RolloutFile) -> str:
    """The version of the artifact in the folder that the file names, as decisions carry it."""
    return read_manifest(state / file.artifact).version


def _write(file: RolloutFile, state: Path) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(file), indent=1)
    write_atomic(state / ROLLOUT_FILE, encoded + b"\n")


def _copy(file: RolloutFile, registry: Registry, version: Version) -> None:
    since = str(file.since_ms)
    if file.mode == "stopped":  # the service does not say when
        since = str(time.time_ns() // 1_000_000)
    registry.annotate(
        version,
        tags={
            "rollout": file.mode,
            "rollout_share": f"{file.share:g}",
            "rollout_reason": file.reason,
            f"rollout_{file.mode}_ms": since,
        },
    )
