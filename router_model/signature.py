"""Signed artifacts: Ed25519 (RFC 8032) over the bytes of the manifest.

The manifest holds the sha256 of every file, so one signature covers the folder. It lies beside
it as 64 raw bytes, which openssl makes and checks as well:

    openssl genpkey -algorithm ed25519 -out signing.pem
    openssl pkey -in signing.pem -pubout -out signing.pub.pem
    openssl pkeyutl -verify -rawin -pubin -inkey signing.pub.pem \\
        -in artifact/manifest.json -sigfile artifact/manifest.sig
"""

from pathlib import Path
from typing import TYPE_CHECKING

from router_model.artifact import SIGNATURE, manifest_bytes
from router_model.errors import ArtifactError
from router_model.extras import missing_packages

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

N_BYTES = 64
MAX_KEY_BYTES = 64 * 1024


def sign(folder: Path, private_key: Path) -> None:
    """Write the signature of a folder's manifest beside it; ArtifactError for an unusable key."""
    key = _private_key(private_key)
    signature = key.sign(manifest_bytes(folder))
    try:
        (folder / SIGNATURE).write_bytes(signature)
    except OSError as error:
        raise ArtifactError(f"{folder / SIGNATURE}: can't be written: {error}") from error


def check_signature(folder: Path, public_key: Path) -> bytes:
    """The manifest's bytes; ArtifactError unless they were signed with the other half of this key.

    It says nothing of the other files: `artifact.verify` compares them with the manifest.
    """
    key = read_public_key(public_key)
    from cryptography.exceptions import InvalidSignature

    path = folder / SIGNATURE
    try:
        with path.open("rb") as file:
            signature = file.read(N_BYTES + 1)
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no such file, expected the signature that ROUTER_ARTIFACT_PUBLIC_KEY asks "
            "for; `router-train export --sign-key` writes it"
        ) from None
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error}") from error
    try:
        content = manifest_bytes(folder)
        key.verify(signature, content)
    except InvalidSignature:
        raise ArtifactError(
            f"{path}: the manifest was not signed with the other half of {public_key}"
        ) from None
    return content


def _private_key(path: Path) -> "Ed25519PrivateKey":
    content = _pem(path)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the error may quote the file
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ArtifactError(
            f"{path}: expected an Ed25519 private key without a passphrase (PEM), as "
            "`openssl genpkey -algorithm ed25519` writes it"
        )
    return key


def read_public_key(path: Path) -> "Ed25519PublicKey":
    """The key in a PEM file; ArtifactError when it is none, or can't be read."""
    content = _pem(path)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ArtifactError(
            f"{path}: expected an Ed25519 public key (PEM), as `openssl pkey -pubout` writes it"
        )
    return key


def _pem(path: Path) -> bytes:
    try:
        import cryptography  # noqa: F401  # asked for here, so that its absence has one message
    except ModuleNotFoundError:
        raise ArtifactError(
            missing_packages("a signature", extra="signing", names=["cryptography"])
        ) from None
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error.strerror}") from error
