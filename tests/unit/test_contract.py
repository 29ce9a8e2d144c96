from pathlib import Path

import pytest

from router_model.contract import (
    ABSTAIN,
    CONTRACTS_FILE,
    Certified,
    Contracts,
    write_contracts,
)
from router_model.errors import ArtifactError


def entry(
    tenant: str = "*",
    *,
    alpha: float = 0.05,
    delta: float = 0.1,
    min_adequacy: float | None = 0.8,
    n: int = 100,
    n_downgraded: int = 50,
    bound: float | None = 0.04,
) -> Certified:
    return Certified(
        tenant=tenant,
        alpha=alpha,
        delta=delta,
        min_adequacy=min_adequacy,
        n=n,
        n_downgraded=n_downgraded,
        bound=bound,
    )


def test_contracts_survive_the_way_to_the_file_and_back(tmp_path: Path) -> None:
    entries = [entry(), entry("acme", min_adequacy=None, bound=None, n_downgraded=0)]
    write_contracts(entries, tmp_path)
    assert Contracts.load(tmp_path) == Contracts.of(entries)


def test_an_artifact_without_contracts_abstains_for_everybody(tmp_path: Path) -> None:
    threshold = Contracts.load(tmp_path).min_adequacy_for("acme", 0.2, 0.1)
    assert threshold.is_abstaining
    assert threshold.min_adequacy == ABSTAIN > 1.0
    assert threshold.source == "contract: abstains"


def test_the_entry_that_promises_least_more_than_asked_answers() -> None:
    contracts = Contracts.of(
        [entry(alpha=a, min_adequacy=1 - a) for a in (0.01, 0.02, 0.05, 0.1, 0.2)]
    )
    assert contracts.min_adequacy_for("acme", 0.07, 0.1).min_adequacy == 0.95
    assert contracts.min_adequacy_for("acme", 0.05, 0.3).source == "contract(alpha=0.05,delta=0.1)"
    assert contracts.min_adequacy_for("acme", 0.005, 0.1).is_abstaining
    assert contracts.min_adequacy_for("acme", 0.05, 0.05).is_abstaining


def test_a_tenant_s_own_entry_comes_first_also_when_it_abstains() -> None:
    contracts = Contracts.of(
        [entry(), entry("acme", min_adequacy=0.7), entry("shy", min_adequacy=None, bound=None)]
    )
    assert contracts.min_adequacy_for("acme", 0.05, 0.1).min_adequacy == 0.7
    assert contracts.min_adequacy_for("shy", 0.05, 0.1).is_abstaining
    assert contracts.min_adequacy_for("new", 0.05, 0.1).min_adequacy == 0.8


def test_a_tenant_without_an_entry_as_strict_gets_the_one_of_all_tenants() -> None:
    contracts = Contracts.of([entry(alpha=0.01), entry("acme", min_adequacy=0.7)])
    assert contracts.min_adequacy_for("acme", 0.02, 0.1).min_adequacy == 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha: got 0.0, expected more than 0 and less than 1"),
        ({"delta": 1.0}, "delta: got 1.0, expected more than 0 and less than 1"),
        ({"min_adequacy": 1.5}, "min_adequacy: got 1.5, expected 0 to 1 or null"),
        ({"bound": -0.1}, "bound: got -0.1, expected 0 to 1 or null"),
        ({"n": 5}, "n_downgraded: got 50, expected 0 to n, which is 5"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        entry(**change)  # type: ignore[arg-type]  # each case has the type of its field


def test_a_promise_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"tenant '\*', alpha 0.05, delta 0.1: listed twice"):
        Contracts.of([entry(), entry(min_adequacy=0.3)])


@pytest.mark.parametrize(
    "content", ["[", "{}", '[{"tenant": "*"}]', '[{"tenant":"*","alpha":7}]', "\xff"]
)
def test_a_file_that_can_t_be_used_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / CONTRACTS_FILE).write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match=CONTRACTS_FILE):
        Contracts.load(tmp_path)


def test_a_file_with_a_value_out_of_range_names_file_and_field(tmp_path: Path) -> None:
    write_contracts([entry()], tmp_path)
    path = tmp_path / CONTRACTS_FILE
    path.write_text(path.read_text().replace('"alpha": 0.05', '"alpha": 5'))
    with pytest.raises(ArtifactError, match=r"contracts\.json: .*alpha: got 5"):
        Contracts.load(tmp_path)
