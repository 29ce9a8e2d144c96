"""The artifact: a folder of plain files that holds a trained router.

    manifest.json           sha256 of every file, feature schema, versions, metrics, lineage
    predictor.json          names, calibration, scalars
    predictor.safetensors   weights of the linear heads
    trees.txt               LightGBM's text format
    embedding.safetensors   static table of the text encoder
    tokenizer.json          its tokenizer
    catalog.toml            the models it was made for
    tenants.json            how each tenant departs from everybody; absent where none does
    contracts.json          which thresholds are certified for which promise; absent in the starter
    economics.json          how sessions go on and what of them stays cached; absent: `PRIOR`
    behaviour.json          latencies, windows, valid calls of the models; absent: as cards declare
    golden.json             a few predictions, compared when it is loaded
    MODEL_CARD.md           what it was trained on and how good it is
    manifest.sig            Ed25519 signature of manifest.json; absent where nobody signs

Nothing is pickled. Every file is checked against its hash before it is read, and no other file
may lie beside them: an optional one that nobody hashed would be read as if it belonged there.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from router_model.errors import ArtifactError

STARTER = Path(__file__).parent / "starter"
"""The artifact that is a part of the program."""
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
ARTIFACT_FORMAT = 1
# The largest manifest that training writes has a few kB; a disk full of braces is none.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_FILES = 1000


class Manifest(Struct, frozen=True, kw_only=True):
    """What an artifact says of itself. `files` maps each file's name to its sha256."""

    format: int
    version: str
    created: str
    feature_schema: str
    encoder: str
    policy: Mapping[str, float | int]
    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    files: Mapping[str, str]


def write_manifest(
    folder: Path,
    *,
    created: str,
    feature_schema: str,
    encoder: str,
    policy: Mapping[str, float | int],
    metrics: Mapping[str, Any],
    lineage: Mapping[str, Any],
) -> Manifest:
    """Hash every file of the folder and write the manifest last; the version is a short hash."""
    files = {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, SIGNATURE)
    }
    version = hashlib.sha256(msgspec.json.encode(sorted(files.items()))).hexdigest()[:12]
    manifest = Manifest(
        format=ARTIFACT_FORMAT,
        version=version,
        created=created,
        feature_schema=feature_schema,
        encoder=encoder,
        policy=policy,
        metrics=metrics,
        lineage=lineage,
        files=files,
    )
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST).write_bytes(encoded + b"\n")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone, unverified; ArtifactError when it is missing or unreadable."""
    return _manifest_in(manifest_bytes(folder), folder / MANIFEST)


def manifest_bytes(folder: Path) -> bytes:
    """What is signed: the manifest's bytes, which hold the hash of every other file."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file, expected a trained artifact there") from None
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error}") from error
    if len(content) > MAX_MANIFEST_BYTES:
        raise ArtifactError(
            f"{path}: more than {MAX_MANIFEST_BYTES} bytes, too long for a manifest"
        )
    return content


def verify(folder: Path, *, content: bytes | None = None) -> Manifest:
    """The manifest, after every file was found and hashed; ArtifactError names what differs.

    `content` is what was read of the manifest already: it may not be the one that lies there now.
    """
    if content is None:
        content = manifest_bytes(folder)
    manifest = _manifest_in(content, folder / MANIFEST)
    if manifest.format != ARTIFACT_FORMAT:
        raise ArtifactError(
            f"{folder / MANIFEST}: got format {manifest.format}, expected {ARTIFACT_FORMAT}"
        )
    if len(manifest.files) > MAX_FILES:
        raise ArtifactError(f"{folder / MANIFEST}: lists {len(manifest.files)} files")
    inside = folder.resolve()
    for name, expected in manifest.files.items():
        path = _listed(folder, name, inside=inside)
        if (found := _sha256(path)) != expected:
            raise ArtifactError(
                f"{path}: altered, sha256 is {found[:12]}..., the manifest says {expected[:12]}..."
            )
    _check_unlisted(folder, manifest)
    return manifest


def _manifest_in(content: bytes, path: Path) -> Manifest:
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: can't be read: {error}") from error


def _listed(folder: Path, name: str, *, inside: Path) -> Path:
    """The file of this name, which has to lie in the folder, whatever links lead there."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise ArtifactError(f"{folder / MANIFEST}: lists {name!r}, a file outside the folder")
    try:
        is_file, real = path.is_file(), path.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links, a name too long
        raise ArtifactError(f"{path}: can't be read: {error}") from error
    if not is_file:
        raise ArtifactError(f"{path}: missing, but the manifest lists it")
    if not real.is_relative_to(inside):
        raise ArtifactError(f"{path}: leads outside the folder")
    return path


def _check_unlisted(folder: Path, manifest: Manifest) -> None:
    """Hidden files (of an editor, of a mount) are read by nobody, and may lie there."""
    known = {*manifest.files, MANIFEST, SIGNATURE}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not is_hidden and name.as_posix() not in known:
            raise ArtifactError(f"{path}: the manifest does not list it; expected no other files")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error}") from error
