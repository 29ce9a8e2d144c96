from pathlib import Path

import pytest
from routers import write_artifact
from signing_keys import key_pair, openssl

from router_model.artifact import MANIFEST, SIGNATURE, verify
from router_model.errors import ArtifactError
from router_model.signature import check_signature, sign


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return key_pair(tmp_path_factory.mktemp("keys"), "a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "artifact")
    return tmp_path / "artifact"


def test_what_was_signed_passes_and_still_verifies(folder: Path, keys: tuple[Path, Path]) -> None:
    sign(folder, keys[0])
    check_signature(folder, keys[1])
    assert SIGNATURE not in verify(folder).files


def test_openssl_accepts_the_signature(folder: Path, keys: tuple[Path, Path]) -> None:
    sign(folder, keys[0])
    openssl(
        *("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", keys[1]),
        *("-in", folder / MANIFEST, "-sigfile", folder / SIGNATURE),
    )


def test_an_unsigned_folder_is_refused(folder: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(ArtifactError, match=r"manifest\.sig: no such file"):
        check_signature(folder, keys[1])


def test_another_key_is_refused(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    sign(folder, key_pair(tmp_path, "b")[0])
    with pytest.raises(ArtifactError, match="was not signed with the other half"):
        check_signature(folder, keys[1])


def test_one_changed_byte_of_the_manifest_is_refused(folder: Path, keys: tuple[Path, Path]) -> None:
    sign(folder, keys[0])
    manifest = folder / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"brier_loss": 0.1', b'"brier_loss": 0.0'))
    verify(folder)  # the files are what they were
    with pytest.raises(ArtifactError, match="was not signed"):
        check_signature(folder, keys[1])


@pytest.mark.parametrize("signature", [b"", b"\0" * 63, b"\0" * 64, b"\0" * 65, b"\xff" * 100_000])
def test_no_other_bytes_are_a_signature(
    folder: Path, keys: tuple[Path, Path], signature: bytes
) -> None:
    (folder / SIGNATURE).write_bytes(signature)
    with pytest.raises(ArtifactError, match="was not signed"):
        check_signature(folder, keys[1])


@pytest.mark.parametrize("kind", ["nothing", "text", "private", "another", "folder"])
def test_a_file_that_is_no_public_key_is_named(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    sign(folder, keys[0])
    path = tmp_path / "key.pem"
    if kind == "text":
        path.write_text("-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n")
    elif kind == "private":
        path = keys[0]
    elif kind == "another":
        path = key_pair(tmp_path, "x", algorithm="x25519")[1]
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(ArtifactError, match=path.name):
        check_signature(folder, path)


def test_a_key_with_a_passphrase_is_refused_without_showing_it(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "locked.pem"
    locked = ("-aes256", "-pass", "pass:secret")
    openssl("genpkey", "-algorithm", "ed25519", *locked, "-out", path)
    with pytest.raises(ArtifactError, match="without a passphrase") as refused:
        sign(folder, path)
    assert "ENCRYPTED" not in str(refused.value)
