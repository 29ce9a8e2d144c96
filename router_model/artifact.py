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

Nothing is pickled. Every file is checked against its hash before it is read.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from router_model.errors import ArtifactError

MANIFEST = "manifest.json"
ARTIFACT_FORMAT = 1


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
        if path.is_file() and path.name != MANIFEST
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
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file, expected a trained artifact there") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: can't be read: {error}") from error


def verify(folder: Path) -> Manifest:
    """The manifest, after every file was found and hashed; ArtifactError names what differs."""
    manifest = read_manifest(folder)
    if manifest.format != ARTIFACT_FORMAT:
        raise ArtifactError(
            f"{folder / MANIFEST}: got format {manifest.format}, expected {ARTIFACT_FORMAT}"
        )
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ArtifactError(f"{folder / MANIFEST}: lists {name!r}, a file outside the folder")
        if not path.is_file():
            raise ArtifactError(f"{path}: missing, but the manifest lists it")
        if (found := _sha256(path)) != expected:
            raise ArtifactError(
                f"{path}: altered, sha256 is {found[:12]}..., the manifest says {expected[:12]}..."
            )
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
