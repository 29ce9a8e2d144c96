"""The registry, on a real MLflow with SQLite."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from router_training.registry import Registry, RegistryError, Version
from router_training.revision import code_revision

TAGS = {"data_snapshot": "abc", "code_revision": "def"}


def artifact(folder: Path, text: str) -> Path:
    made = folder / f"artifact-{text}"
    (made / "deep").mkdir(parents=True)
    (made / "manifest.json").write_text(f'"{text}"')
    (made / "deep" / "model.txt").write_text(text)
    return made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    environment = os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield Registry(tmp_path_factory.mktemp("state"))
    if environment is not None:
        os.environ["MLFLOW_TRACKING_URI"] = environment


def register(registry: Registry, folder: Path, text: str) -> Version:
    folder.mkdir(exist_ok=True)
    report = folder / f"report-{text}.json"
    report.write_text("{}")
    return registry.register(
        artifact(folder, text),
        params={"seed": 1, "encoder": "x" * 900},
        metrics={"score": 0.5},
        tags=TAGS,
        files=[report],
    )


def test_an_empty_registry_says_how_to_fill_it(registry: Registry) -> None:
    assert registry.find("champion") is None
    with pytest.raises(RegistryError, match=r"challenger: no version has this alias .* run"):
        registry.promote()


def test_a_version_keeps_parameters_metrics_tags_and_files(
    registry: Registry, tmp_path: Path
) -> None:
    version = register(registry, tmp_path, "one")
    found = registry.get("challenger")
    assert (found.number, found.metrics) == (version.number, {"score": 0.5})
    assert TAGS.items() <= found.tags.items()
    run = registry.client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "1"
    assert [f.path for f in registry.client.list_artifacts(version.run_id, "report")] == [
        "report/report-one.json"
    ]
    assert run.data.tags["code_revision"] == "def"


def test_promotion_and_rollback_move_the_aliases(registry: Registry, tmp_path: Path) -> None:
    first = register(registry, tmp_path, "a")
    assert registry.promote().number == first.number
    assert registry.find("challenger") is None
    second = register(registry, tmp_path, "b")
    registry.promote()
    assert registry.get("champion").number == second.number
    assert registry.get("previous").number == first.number
    assert registry.rollback().number == first.number
    assert registry.get("previous").number == second.number
    assert registry.rollback().number == second.number


def test_promoting_again_after_a_crash_does_not_lose_the_previous(
    registry: Registry, tmp_path: Path
) -> None:
    old = registry.get("champion")
    new = register(registry, tmp_path, "again")
    registry.promote()
    # as if the process had ended before the challenger's alias was removed
    registry.client.set_registered_model_alias("router", "challenger", new.number)
    registry.promote()
    assert registry.get("champion").number == new.number
    assert registry.get("previous").number == old.number


def test_a_rollback_is_told_by_tags_of_both_versions(registry: Registry, tmp_path: Path) -> None:
    old = registry.get("champion")
    new = register(registry, tmp_path, "tagged")
    registry.promote()
    registry.rollback(reason="worse by 0.1")
    gone, back = registry.get("previous"), registry.get("champion")
    assert (gone.number, back.number) == (new.number, old.number)
    assert gone.tags["rollback_reason"] == "worse by 0.1"
    assert int(gone.tags["rolled_back_ms"]) >= int(gone.tags["promoted_ms"])
    assert back.tags["rolled_back_ms"] == ""
    run = registry.client.get_run(gone.run_id)
    assert run.data.tags["rollback_reason"] == "worse by 0.1"


def test_what_is_found_out_later_is_added_to_a_version(registry: Registry, tmp_path: Path) -> None:
    version = register(registry, tmp_path, "later")
    found = tmp_path / "gate.json"
    found.write_text("[]")
    registry.annotate(
        version, tags={"gate": "passed", "long": "x" * 9000}, metrics={"gate.gain": 0.1},
        files=[found],
    )  # fmt: skip
    same = registry.get("challenger")
    assert same.tags["gate"] == "passed"
    assert len(same.tags["long"]) == 4000
    assert same.metrics["gate.gain"] == 0.1
    names = [f.path for f in registry.client.list_artifacts(version.run_id, "report")]
    assert "report/gate.json" in names


def test_a_version_is_found_by_a_tag_the_latest_first(registry: Registry, tmp_path: Path) -> None:
    for text in ("t1", "t2"):
        version = register(registry, tmp_path, text)
        registry.annotate(version, tags={"artifact_version": "abc"})
    found = registry.find_tagged("artifact_version", "abc")
    assert found is not None
    assert found.number == version.number
    assert registry.find_tagged("artifact_version", "none") is None


def test_a_record_is_a_run_of_its_kind_and_no_version(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    path.write_text("{}")
    before = registry.find("challenger")
    run_id = registry.record("drift", metrics={"psi.x": 0.3}, tags={"alarm": "yes"}, files=[path])
    run = registry.client.get_run(run_id)
    assert (run.data.tags["kind"], run.data.metrics["psi.x"]) == ("drift", 0.3)
    assert run.info.status == "FINISHED"
    assert registry.find("challenger") == before


def test_an_export_is_the_registered_folder(registry: Registry, tmp_path: Path) -> None:
    register(registry, tmp_path, "out")
    dest = tmp_path / "state" / "artifact"
    registry.export("challenger", dest)
    assert (dest / "deep" / "model.txt").read_text() == "out"
    assert not [path for path in dest.parent.iterdir() if path.name.startswith(".")]


def test_an_export_replaces_the_one_before_in_one_step(registry: Registry, tmp_path: Path) -> None:
    dest = tmp_path / "artifact"
    for text in ("x", "y", "z"):
        register(registry, tmp_path / text, text)
        registry.export("challenger", dest)
        assert dest.is_symlink()
        assert (dest / "manifest.json").read_text() == f'"{text}"'
    kept = sorted(path for path in tmp_path.glob("artifact.v*"))
    assert len(kept) == 2
    assert dest.resolve() in kept


def test_a_folder_that_was_put_there_by_hand_is_kept_aside(
    registry: Registry, tmp_path: Path
) -> None:
    dest = artifact(tmp_path, "by-hand").rename(tmp_path / "artifact")
    register(registry, tmp_path, "new")
    registry.export("challenger", dest)
    assert (dest / "manifest.json").read_text() == '"new"'
    assert (tmp_path / "artifact.before.0" / "manifest.json").read_text() == '"by-hand"'


def test_a_refused_artifact_leaves_the_old_export_alone(registry: Registry, tmp_path: Path) -> None:
    dest = tmp_path / "artifact"
    register(registry, tmp_path, "good")
    registry.export("challenger", dest)
    register(registry, tmp_path, "bad")

    def refuse(folder: Path) -> None:
        raise RegistryError(f"{folder}: altered")

    with pytest.raises(RegistryError, match="altered"):
        registry.export("challenger", dest, check=refuse)
    assert (dest / "manifest.json").read_text() == '"good"'
    assert sorted(path.name for path in tmp_path.glob("*artifact.*")) == [dest.resolve().name]


def test_the_default_backend_lies_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Registry(tmp_path).tracking_uri == f"sqlite:///{tmp_path.resolve()}/mlflow/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.internal")
    assert Registry(tmp_path).tracking_uri == "http://mlflow.internal"


def test_telemetry_is_off(registry: Registry) -> None:
    assert registry.client is not None
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_code_revision_is_the_commit_and_tells_of_changes(tmp_path: Path) -> None:
    assert code_revision(tmp_path / "absent") == "unknown"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run([*git, "add", "file"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "first"], cwd=tmp_path, check=True)
    clean = code_revision(tmp_path)
    assert len(clean) == 12
    (tmp_path / "file").write_text("2")
    assert code_revision(tmp_path) == f"{clean}-dirty"
