"""Decides whether an artifact may be loaded: signature, hashes, and a probe in another process.

What the probe found sound is remembered in the state folder, by the hash of the manifest (which
holds those of all files) and the versions of the libraries that read it: a restart does not probe
again. The shipped starter is a part of the program, and is neither probed nor signed.
"""

import asyncio
import hashlib
import os
import platform
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import structlog

from router_model.artifact import STARTER, Manifest, manifest_bytes, verify
from router_model.errors import ArtifactError
from router_model.router import Router
from router_model.signature import check_signature
from router_serving.artifact_probe import load
from router_serving.settings import Settings

CHECK_TIMEOUT_S: Final = 120.0
SOUND_FILE: Final = "artifact.sound.json"
_KEPT: Final = 16
_LIBRARIES: Final = ("router-model", "lightgbm", "numpy", "safetensors", "tokenizers", "msgspec")
_log = structlog.get_logger(__name__)


async def sound(folder: Path, settings: Settings) -> Router:
    """The router in a folder, after everything that can be checked; RouterError says what failed.

    A link is followed once, so that one which is replaced meanwhile mixes nothing.
    """
    real = folder.resolve()
    manifest = await check(real, settings)
    router = await asyncio.to_thread(load, real, overlay=settings.catalog)
    if manifest is not None and router.manifest != manifest:
        raise ArtifactError(f"{real}: was replaced while it was checked, expected it to stay")
    return router


async def check(folder: Path, settings: Settings) -> Manifest | None:
    """Everything before the load: signature, hashes, and the probe unless it was passed before.

    The manifest that passed; None for the starter, of which nothing is checked.
    """
    if folder == STARTER.resolve():
        return None
    manifest = await asyncio.to_thread(verified, folder, settings)
    if not await asyncio.to_thread(was_sound, folder, settings):
        await check_apart(folder, overlay=settings.catalog)
        await asyncio.to_thread(_remember, settings.state_dir / SOUND_FILE, _key_of(folder))
    return manifest


def was_sound(folder: Path, settings: Settings) -> bool:
    """True for an artifact that the probe found sound before."""
    return _key_of(folder) in _known(settings.state_dir / SOUND_FILE)


def verified(folder: Path, settings: Settings) -> Manifest:
    """The manifest, its signature checked where the settings ask for one, and every hash."""
    content = None
    if settings.artifact_public_key is not None and folder.resolve() != STARTER.resolve():
        content = check_signature(folder, settings.artifact_public_key)
    return verify(folder, content=content)


async def check_apart(folder: Path, *, overlay: Path | None) -> None:
    """Load the artifact in a process of its own; ArtifactError when that fails or crashes."""
    # -P: or what lies in the folder where the service was started could pass for a library.
    arguments = [sys.executable, "-P", "-m", "router_serving.artifact_probe", str(folder)]
    if overlay is not None:
        arguments.append(str(overlay))
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each thread takes memory
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **one_thread},
    )
    try:
        _, errors = await asyncio.wait_for(process.communicate(), CHECK_TIMEOUT_S)
    except TimeoutError:
        raise ArtifactError(f"{folder}: did not load within {CHECK_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:  # too slow, or the service stops meanwhile
            process.kill()
            await process.wait()
    if process.returncode:
        raise ArtifactError(_why(folder, process.returncode, errors))


def _why(folder: Path, code: int, errors: bytes) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"{folder}: loading it crashed a process of its own ({name}); expected a sound one"
    last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return last or f"{folder}: the loader ended with {code}"


def _key_of(folder: Path) -> str:
    """What a verdict holds for: this manifest, read by these libraries."""
    parts = [hashlib.sha256(manifest_bytes(folder)).hexdigest(), platform.python_version()]
    parts += [f"{name}={version(name)}" for name in _LIBRARIES]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _known(stamp: Path) -> Sequence[str]:
    try:
        return msgspec.json.decode(stamp.read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ()


def _remember(stamp: Path, key: str) -> None:
    kept = [*_known(stamp), key][-_KEPT:]
    temporary = stamp.with_name(f"{stamp.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(msgspec.json.encode(kept))
        temporary.replace(stamp)
    except OSError as error:  # the next start probes again
        _log.warning("artifact.unremembered", error=str(error))
