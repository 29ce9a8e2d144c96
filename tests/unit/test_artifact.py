from pathlib import Path

import msgspec
import pytest

from router_model.artifact import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    Manifest,
    read_manifest,
    verify,
    write_manifest,
)
from router_model.errors import ArtifactError


def sealed(folder: Path, *, created: str = "2026-11-23T00:00:00+00:00") -> Manifest:
    return write_manifest(
        folder,
        created=created,
        feature_schema="f1",
        encoder="e1",
        policy={"failure_cost_usd": 0.1},
        metrics={"brier_loss": 0.2, "unknown": float("nan")},
        lineage={"revision": "abc"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trees.txt").write_text("trees")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "table.bin").write_bytes(b"\x00\x01")
    return tmp_path


def test_every_file_is_hashed_but_the_manifest_itself(folder: Path) -> None:
    first = sealed(folder)
    assert set(first.files) == {"trees.txt", "more/table.bin"}
    assert sealed(folder).files == first.files


def test_what_was_written_verifies_and_is_read_back(folder: Path) -> None:
    written = sealed(folder)
    found = verify(folder)
    assert (found.version, found.files) == (written.version, written.files)
    assert found.policy == {"failure_cost_usd": 0.1}
    assert found.lineage == {"revision": "abc"}


def test_a_metric_that_is_no_number_is_null_in_the_file(folder: Path) -> None:
    sealed(folder)
    assert read_manifest(folder).metrics == {"brier_loss": 0.2, "unknown": None}


def test_the_version_is_that_of_the_content_not_of_the_time(folder: Path) -> None:
    first = sealed(folder)
    assert sealed(folder, created="2027-01-01T00:00:00+00:00").version == first.version
    (folder / "trees.txt").write_text("other trees")
    assert sealed(folder).version != first.version


def test_a_changed_file_is_named(folder: Path) -> None:
    sealed(folder)
    (folder / "trees.txt").write_text("treez")
    with pytest.raises(ArtifactError, match=r"trees\.txt: altered, sha256 is"):
        verify(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    sealed(folder)
    (folder / "more" / "table.bin").unlink()
    with pytest.raises(ArtifactError, match=r"table\.bin: missing, but the manifest lists it"):
        verify(folder)


def test_a_folder_without_a_manifest_is_no_artifact(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file, expected a trained artifact there"):
        verify(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
def test_a_manifest_that_can_not_be_read_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match="can't be read"):
        verify(folder)


def test_another_format_is_refused(folder: Path) -> None:
    other = msgspec.structs.replace(sealed(folder), format=99)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(other))
    with pytest.raises(ArtifactError, match="got format 99, expected 1"):
        verify(folder)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname"])
def test_a_manifest_can_not_point_outside_its_folder(folder: Path, name: str) -> None:
    # Such a file was hashed, wherever it lay.
    other = msgspec.structs.replace(sealed(folder), files={name: "0" * 64})
    (folder / MANIFEST).write_bytes(msgspec.json.encode(other))
    with pytest.raises(ArtifactError, match="outside"):
        verify(folder)


def test_a_file_that_the_manifest_does_not_list_is_refused(folder: Path) -> None:
    # An optional file, such as tenants.json, was read without a hash when somebody added it.
    sealed(folder)
    (folder / "tenants.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tenants\.json: the manifest does not list it"):
        verify(folder)


def test_hidden_files_and_the_signature_may_lie_beside_the_others(folder: Path) -> None:
    sealed(folder)
    (folder / ".gitkeep").write_text("")
    (folder / ".data").mkdir()
    (folder / ".data" / "x").write_text("")
    (folder / SIGNATURE).write_bytes(b"\0" * 64)
    verify(folder)


def test_a_link_may_lead_to_another_place_of_the_folder_but_not_out_of_it(folder: Path) -> None:
    # A mounted volume links its files to a hidden folder; a link to elsewhere was followed too.
    manifest = sealed(folder)
    (folder / ".data").mkdir()
    (folder / "trees.txt").rename(folder / ".data" / "trees.txt")
    (folder / "trees.txt").symlink_to(Path(".data") / "trees.txt")
    assert verify(folder).version == manifest.version
    outside = folder.parent / f"{folder.name}-outside"
    (folder / ".data" / "trees.txt").rename(outside)
    (folder / "trees.txt").unlink()
    (folder / "trees.txt").symlink_to(outside)
    with pytest.raises(ArtifactError, match="leads outside the folder"):
        verify(folder)


@pytest.mark.parametrize("place", ["loop", "device", "folder"])
def test_what_is_no_plain_file_is_refused(folder: Path, place: str) -> None:
    sealed(folder)
    path = folder / "trees.txt"
    path.unlink()
    if place == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if place == "device" else path)
    with pytest.raises(ArtifactError, match=r"trees\.txt"):
        verify(folder)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ".", ""])
def test_a_senseless_name_in_the_manifest_is_refused(folder: Path, name: str) -> None:
    other = msgspec.structs.replace(sealed(folder), files={name: "0" * 64})
    (folder / MANIFEST).write_bytes(msgspec.json.encode(other))
    with pytest.raises(ArtifactError):
        verify(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"metrics": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "can't be read"),
        (b'{"format": 1e9}', "can't be read"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "too long for a manifest"),
    ],
)
def test_an_absurd_manifest_is_refused(folder: Path, content: bytes, said: str) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=said):
        verify(folder)


def test_a_name_that_stands_twice_in_the_manifest_gets_nothing_unhashed_in(folder: Path) -> None:
    sealed(folder)
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"files": {', '"files": {}, "files": {', 1))
    verify(folder)  # the last one counts, and it lists everything
    end = text.rstrip().removesuffix("}")
    (folder / MANIFEST).write_text(end + ', "files": {}}')
    with pytest.raises(ArtifactError, match="does not list it"):
        verify(folder)
