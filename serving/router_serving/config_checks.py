"""Looks at everything that the service would read or write, and changes nothing of it."""

import asyncio
import os
import resource
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from router_model.artifact import STARTER
from router_model.errors import RouterError
from router_model.extras import missing_packages
from router_model.router import Router
from router_model.signature import read_public_key
from router_serving.access import checked_keys
from router_serving.artifact_check import check_apart, verified, was_sound
from router_serving.artifact_probe import load
from router_serving.errors import StartError
from router_serving.keys import keys_path
from router_serving.ledger.inspecting import inspected_ledger
from router_serving.readiness import disk_of
from router_serving.reload import locate
from router_serving.rollout_file import ROLLOUT_FILE, read_rollout
from router_serving.settings import Settings
from router_serving.tenants import load_tenants, tenants_path
from router_serving.tracing import ENDPOINTS

Verdict = Literal["OK", "WARN", "FAIL"]
# Variables of other commands of the project.
_OTHERS: Final = frozenset(("ROUTER_SIGN_KEY",))
# Beside connections: the log, the ledger, threads, libraries.
_OWN_DESCRIPTORS: Final = 64


class Finding(Struct, frozen=True):
    """What was looked at, whether it will do, and what there is to say of it."""

    name: str
    verdict: Verdict
    said: str


def findings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that can be told before a start, in the order in which a start needs it."""
    yield _variables(environ)
    yield _tried("keys", lambda: _keys(settings))
    yield _tried("public key", lambda: _public_key(settings))
    router: list[Router] = []
    yield _tried("artifact", lambda: _artifact(settings, router))
    yield _tried("catalog", lambda: _catalog(settings, router))
    yield _tried("tenants", lambda: _tenants(settings, router))
    yield _tried("rollout", lambda: _rollout(settings))
    yield _tried("ledger", lambda: Finding("ledger", *inspected_ledger(settings)))
    yield _tried("log", lambda: _log(settings))
    yield _disk(settings)
    yield _descriptors(settings)
    yield _tracing(environ)


def _tried(name: str, look: Callable[[], "Finding | str"]) -> Finding:
    try:
        found = look()
    except RouterError as error:
        return Finding(name, "FAIL", str(error))
    return found if isinstance(found, Finding) else Finding(name, "OK", found)


def _variables(environ: Mapping[str, str]) -> Finding:
    known = {f"ROUTER_{name.upper()}" for name in Settings.model_fields} | _OTHERS
    unknown = [name for name in environ if name.startswith("ROUTER_") and name not in known]
    if unknown:
        return Finding("settings", "WARN", f"no settings of these names: {', '.join(unknown)}")
    n_set = sum(name in environ for name in known)
    return Finding("settings", "OK", f"{n_set} of {len(known)} set in the environment")


def _keys(settings: Settings) -> Finding | str:
    ring, path = checked_keys(settings), keys_path(settings)
    if not len(ring):
        said = f"none in {path}: nobody is asked for a key"
        return Finding("keys", "OK" if settings.is_loopback else "WARN", said)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o022:
        return Finding("keys", "WARN", f"{path}: others may write it (mode {mode:o})")
    return f"{len(ring)} in {path}"


def _public_key(settings: Settings) -> str:
    path = settings.artifact_public_key
    if path is None:
        return "none set: artifacts need no signature"
    read_public_key(path)
    return f"{path}: only artifacts signed with its other half are loaded"


def _artifact(settings: Settings, router: list[Router]) -> str:
    folder = locate(settings)
    manifest = _sound(folder, settings)
    router.append(load(folder, overlay=settings.catalog))
    kind = ", the shipped starter" if folder == STARTER else ""
    return f"{manifest} in {folder}{kind}"


def _sound(folder: Path, settings: Settings) -> str:
    real = folder.resolve()
    manifest = verified(real, settings)
    if not was_sound(real, settings):
        asyncio.run(check_apart(real, overlay=settings.catalog))
    return manifest.version


def _catalog(settings: Settings, router: list[Router]) -> Finding | str:
    if not router:
        return Finding("catalog", "WARN", "not looked at: there is no artifact to lay it over")
    catalog = router[0].catalog
    if not catalog.enabled:
        return Finding("catalog", "FAIL", "no model is enabled")
    laid = "" if settings.catalog is None else f", with {settings.catalog}"
    return f"{len(catalog.enabled)} models, as of {catalog.as_of}{laid}"


def _tenants(settings: Settings, router: list[Router]) -> Finding | str:
    if not router:
        return Finding("tenants", "WARN", "not looked at: pins are names of the catalog")
    tenants = load_tenants(settings, router[0].catalog)
    hard = ", with hard caps" if tenants.has_hard_cap else ", without hard caps"
    return f"{len(tenants.named)} named in {tenants_path(settings)}{hard}"


def _rollout(settings: Settings) -> str:
    path = settings.state_dir / ROLLOUT_FILE
    file = read_rollout(path)
    if not file.is_on:
        return f"{file.mode} ({path})"
    version = _sound(settings.state_dir / file.artifact, settings)
    return f"{file.mode} of {version}, share {file.share:g} ({path})"


def _log(settings: Settings) -> str:
    """A file can be made durable in the folder, or the folder can be made."""
    place = existing(settings.log_dir)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StartError(f"{place}: can't be written: {error.strerror}") from error
    made = "" if place == settings.log_dir.absolute() else f"; {settings.log_dir} will be made"
    return f"{place} can be written and synced{made}"


def _disk(settings: Settings) -> Finding:
    disk = disk_of(existing(settings.log_dir))
    if disk is None:
        return Finding("disk", "WARN", "its free space can't be told")
    said = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB are free"
    return Finding("disk", "WARN" if disk.is_nearly_full else "OK", said)


def _descriptors(settings: Settings) -> Finding:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = settings.max_connections + _OWN_DESCRIPTORS
    if allowed < needed:
        said = f"{allowed} allowed (ulimit -n), ROUTER_MAX_CONNECTIONS needs {needed}"
        return Finding("descriptors", "WARN", said)
    return Finding("descriptors", "OK", f"{allowed} allowed")


def _tracing(environ: Mapping[str, str]) -> Finding:
    if not any(environ.get(name) for name in ENDPOINTS):
        return Finding("tracing", "OK", "no collector set: no spans are made")
    if find_spec("opentelemetry.sdk") is None:
        needs = missing_packages("tracing", extra="tracing", names=["opentelemetry.sdk"])
        said = f"a collector is set, but {needs}"
        return Finding("tracing", "WARN", said)
    return Finding("tracing", "OK", "spans go to the collector of OTEL_EXPORTER_OTLP_ENDPOINT")


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
