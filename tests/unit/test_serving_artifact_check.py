import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest
from routers import joint_predictor, write_artifact
from signing_keys import key_pair

from router_battery.artifact_mutations import MUTATIONS, mutated, reseal, survive
from router_model.artifact import MANIFEST, read_manifest
from router_model.errors import ArtifactError
from router_model.golden import GOLDEN
from router_model.router import Router
from router_model.signature import sign
from router_serving import artifact_check
from router_serving.artifact_check import SOUND_FILE, check, check_apart, sound
from router_serving.reload import ArtifactWatcher, load_current
from router_serving.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "artifact")
    return tmp_path / "artifact"


def test_a_sound_artifact_is_loaded_and_remembered(folder: Path, tmp_path: Path) -> None:
    router = asyncio.run(sound(folder, Settings(state_dir=tmp_path)))
    assert router.versions.artifact == read_manifest(folder).version
    assert len(msgspec.json.decode((tmp_path / SOUND_FILE).read_bytes())) == 1


def test_what_was_found_sound_is_not_probed_again(folder: Path, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    _contradict(folder)
    with pytest.raises(ArtifactError, match="p_adequate"):
        asyncio.run(check(folder, settings))
    assert not (tmp_path / SOUND_FILE).exists()
    key = artifact_check._key_of(folder)
    (tmp_path / SOUND_FILE).write_bytes(msgspec.json.encode([key]))
    asyncio.run(check(folder, settings))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]"])
def test_a_damaged_memory_of_sound_artifacts_only_costs_a_probe(
    folder: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / SOUND_FILE).write_bytes(content)
    asyncio.run(check(folder, Settings(state_dir=tmp_path)))
    assert len(msgspec.json.decode((tmp_path / SOUND_FILE).read_bytes())) == 1


def test_a_wrong_golden_prediction_is_refused_by_the_probe(folder: Path) -> None:
    _contradict(folder)
    with pytest.raises(ArtifactError, match=r"golden\.json: context 0: p_adequate"):
        asyncio.run(check_apart(folder, overlay=None))


@pytest.mark.parametrize("smearing", ["1e308", "0", "-7"])
def test_costs_that_no_log_taught_are_refused_although_the_goldens_agree(
    folder: Path, smearing: str
) -> None:
    text = (folder / "predictor.json").read_text()
    absurd = text.replace('"output_tokens": 1.2', f'"output_tokens": {smearing}')
    assert absurd != text
    (folder / "predictor.json").write_text(absurd)
    reseal(folder)
    with pytest.raises(ArtifactError):
        asyncio.run(check_apart(folder, overlay=None))


def test_a_crash_is_one_line_that_names_the_signal(folder: Path) -> None:
    said = artifact_check._why(folder, -11, b"")
    assert said == (
        f"{folder}: loading it crashed a process of its own (SIGSEGV); expected a sound one"
    )


def test_the_probe_can_not_take_the_memory_of_the_machine(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from router_serving.artifact_probe import confine\n"
        "confine(Path(sys.argv[1])); bytearray(64 * 1024**3)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert "MemoryError" in ended.stderr


def test_with_a_public_key_only_signed_artifacts_are_loaded(folder: Path, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    settings = Settings(state_dir=tmp_path, artifact_public_key=public)
    with pytest.raises(ArtifactError, match=r"manifest\.sig: no such file"):
        asyncio.run(load_current(settings))
    sign(folder, private)
    asyncio.run(load_current(settings))
    reseal(folder)  # the same content, but who knows who wrote it
    manifest = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(manifest.replace('"brier_loss": 0.1', '"brier_loss": 0'))
    with pytest.raises(ArtifactError, match="was not signed"):
        asyncio.run(load_current(settings))


def test_what_takes_the_place_of_a_signed_artifact_meanwhile_is_not_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair(tmp_path)
    sign(folder, private)
    write_artifact(tmp_path / "other", policy={"min_adequacy": 0.0})

    async def replaced(artifact: Path, *, overlay: Path | None) -> None:
        shutil.rmtree(artifact)
        (tmp_path / "other").rename(artifact)

    monkeypatch.setattr(artifact_check, "check_apart", replaced)
    settings = Settings(state_dir=tmp_path, artifact_public_key=public)
    with pytest.raises(ArtifactError, match="was replaced while it was checked"):
        asyncio.run(sound(folder, settings))


def test_the_probe_runs_no_code_of_the_folder_where_the_service_was_started(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    started.mkdir()
    ran = tmp_path / "ran"
    (started / "resource.py").write_text(f"open({str(ran)!r}, 'w').close(); raise SystemExit(0)")
    monkeypatch.chdir(started)
    asyncio.run(check_apart(folder, overlay=None))
    assert not ran.exists()


def test_the_shipped_starter_needs_no_signature(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, artifact_public_key=tmp_path / "none.pem")
    asyncio.run(load_current(settings))
    assert not (tmp_path / SOUND_FILE).exists()


def test_an_unusable_artifact_is_an_error_that_says_how_to_go_back(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "artifact.v1.0")
    folder.rename(tmp_path / "artifact.v2.0")
    folder.symlink_to("artifact.v2.0")
    (folder / "trees.txt").write_text("")
    with pytest.raises(ArtifactError, match="altered") as refused:
        asyncio.run(load_current(Settings(state_dir=tmp_path)))
    command = str(refused.value).partition("or `")[2].removesuffix("`")
    subprocess.run(command, shell=True, check=True)
    assert folder.resolve().name == "artifact.v1.0"
    asyncio.run(load_current(Settings(state_dir=tmp_path)))


def test_another_policy_under_the_same_files_is_no_rollback(folder: Path, tmp_path: Path) -> None:
    # The version is that of the files: the router before was taken, with the policy before.
    settings = Settings(state_dir=tmp_path)
    used = [Router.load(folder)]
    watcher = ArtifactWatcher(
        settings,
        seen="",
        current=lambda: used[-1],
        swap=used.append,
        counted=lambda result: None,
    )
    write_artifact(folder, predictor=joint_predictor(seed=1))
    asyncio.run(watcher.look())
    write_artifact(folder, policy={"min_adequacy": 0.123})
    asyncio.run(watcher.look())
    assert [router.policy.min_adequacy for router in used[1:]] != [0.123, 0.123]
    assert used[-1].policy.min_adequacy == 0.123
    write_artifact(folder, predictor=joint_predictor(seed=1))
    asyncio.run(watcher.look())
    assert used[-1] is used[-3]


@pytest.mark.parametrize("resealed", [False, True])
def test_no_damaged_artifact_is_loaded_that_says_something_else(
    folder: Path, tmp_path: Path, resealed: bool
) -> None:
    (tmp_path / "work").mkdir()
    n = 6 if resealed else 60
    tally = survive(folder, tmp_path / "work", Random(5), n=n, resealed=resealed)
    assert tally.wrong == ()
    assert tally.refused + tally.loaded == n
    assert tally.refused > 0


@pytest.mark.service
def test_no_damaged_artifact_is_loaded_in_many_trials(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    tally = survive(folder, tmp_path / "work", Random(6), n=20, resealed=True)
    assert tally.wrong == ()
    # Which ones are drawn depends on the sizes of the files.
    assert len(tally.kinds) > len(MUTATIONS) / 2


def test_a_mutation_says_what_it_did(folder: Path) -> None:
    assert ": " in mutated(folder, Random(1), resealed=True)


def _contradict(folder: Path) -> None:
    content = msgspec.json.decode((folder / GOLDEN).read_bytes())
    content["p_adequate"][0][0] += 0.001
    (folder / GOLDEN).write_bytes(msgspec.json.encode(content))
    reseal(folder)
