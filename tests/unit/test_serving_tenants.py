import asyncio
from pathlib import Path

import pytest
from routers import catalog

from router_model.terms import Exploration, QualityContract, Terms
from router_serving.errors import TenantsError
from router_serving.settings import Settings
from router_serving.tenants import Tenants, load_tenants, tenants_watcher

FILE = """
[default]
alpha = 0.05
delta = 0.1
exploration = 0.05
exploration_floor = 0.01
exploration_budget_usd_per_day = 1.5
[tenants.acme]
models = ["small-1", "Medium", "small"]
[tenants.bold]
alpha = 0.2
exploration = 0.2
exploration_budget_usd_per_day = 0
"""


def settings(folder: Path, **changes: object) -> Settings:
    return Settings(state_dir=folder, **changes)  # type: ignore[arg-type] # each test names its own


def loaded(folder: Path, text: str, **changes: object) -> Tenants:
    (folder / "tenants.toml").write_text(text)
    return load_tenants(settings(folder, **changes), catalog())


def test_a_tenant_takes_from_the_default_what_it_does_not_say(tmp_path: Path) -> None:
    tenants = loaded(tmp_path, FILE, min_adequacy=0.3)
    common = Terms(
        contract=QualityContract(alpha=0.05, delta=0.1),
        min_adequacy=0.3,
        exploration=Exploration(share=0.05, floor=0.01),
    )
    assert tenants.of("anybody").terms == common
    assert tenants.of("anybody").budget_microusd_per_day == 1_500_000
    acme = tenants.of("acme")
    assert acme.terms.models == ("small", "medium")
    assert (acme.terms.contract, acme.budget_microusd_per_day) == (common.contract, 1_500_000)
    bold = tenants.of("bold")
    assert bold.terms.contract == QualityContract(alpha=0.2, delta=0.1)
    assert bold.terms.exploration == Exploration(share=0.2, floor=0.01)
    assert bold.budget_microusd_per_day == 0


def test_without_a_file_everything_is_left_to_the_artifact(tmp_path: Path) -> None:
    tenants = load_tenants(settings(tmp_path), catalog())
    assert tenants.of("anybody").terms == Terms()
    assert tenants.of("anybody").budget_microusd_per_day is None


def test_a_file_that_was_named_has_to_exist(tmp_path: Path) -> None:
    elsewhere = tmp_path / "own.toml"
    with pytest.raises(TenantsError, match=r"own\.toml: no such file"):
        load_tenants(settings(tmp_path, tenants=elsewhere), catalog())
    elsewhere.write_text("[default]\nalpha = 0.1\ndelta = 0.1\n")
    tenants = load_tenants(settings(tmp_path, tenants=elsewhere), catalog())
    assert tenants.of("anybody").terms.contract == QualityContract(alpha=0.1, delta=0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tenants.acme]\nexploraton = 0.1",
            r"tenants\.acme\.exploraton: unknown key, allowed: al",
        ),
        ("[acme]\nalpha = 0.1", r"acme: unknown key, allowed: default, tenants"),
        ("default = 3", r"default: got 3, expected: a table"),
        ("[[tenants]]\nx = 1", r"tenants: got \[\{'x': 1\}\], expected: a table"),
        ("[default]\nalpha = 1.5\ndelta = 0.1", r"default\.alpha: got 1\.5, expected"),
        ("[default]\nalpha = '5%'\ndelta = 0.1", r"default\.alpha: got '5%', expected"),
        ("[default]\nalpha = 0.1", r"default\.delta: missing; a contract needs alpha and delta"),
        ("[tenants.a]\ndelta = 0.1", r"tenants\.a\.alpha: missing"),
        ("[default]\nexploration = 0.6", r"default\.exploration: got 0\.6, expected"),
        (
            "[default]\nexploration_floor = 0.1\n[tenants.a]\nexploration = 0.05",
            r"tenants\.a\.exploration_floor: got 0\.1, expected at most the exploration of 0\.05",
        ),
        ("[tenants.a]\nmodels = ['nobody']", r"tenants\.a\.models: got nobody, expected names of"),
        ("[tenants.a]\nmodels = []", r"tenants\.a\.models: got \[\], expected"),
        ("[default]\nexploration_budget_usd_per_day = -1", r"per_day: got -1, expected"),
        ("[default", r"tenants\.toml: can't be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TenantsError, match=message):
        loaded(tmp_path, text)


def test_a_changed_file_is_taken_and_a_bad_one_leaves_the_old(tmp_path: Path) -> None:
    taken: list[Tenants] = []
    counts: list[str] = []
    models = catalog()
    watcher = tenants_watcher(
        settings(tmp_path), catalog=lambda: models, swap=taken.append, counted=counts.append
    )
    asyncio.run(watcher.look())
    assert (taken, counts) == ([], [])
    file = tmp_path / "tenants.toml"
    file.write_text(FILE)
    asyncio.run(watcher.look())
    assert len(taken) == 1
    file.write_text(FILE + "[tenants.x]\nmodel = []\n")
    asyncio.run(watcher.look())
    asyncio.run(watcher.look())
    assert (len(taken), counts) == (1, ["swapped", "refused"])
    assert watcher.last_error is not None
    assert "tenants.x.model: unknown key" in watcher.last_error
    file.write_text(FILE + "\n")
    asyncio.run(watcher.look())
    assert len(taken) == 2
    assert not watcher.last_error
    models = catalog(())
    asyncio.run(watcher.look())
    assert watcher.last_error is not None
    assert "expected names of the catalog" in watcher.last_error
