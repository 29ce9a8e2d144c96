from pathlib import Path

import pytest
from probe_model import FAULTS
from probe_runs import DIALECTS, NO_SEED, NOT_IN_MESSAGES, OF_THE_DIALECT, probe
from probe_server import KEY, MODEL, Endpoint, serving

from router_data.prices import shipped_catalog

pytestmark = pytest.mark.service


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_good_endpoint_passes_every_check(dialect: str, tmp_path: Path) -> None:
    with serving(Endpoint()) as url:
        probed = probe(url, tmp_path, dialect=dialect)
    assert probed.exit_code == 0, probed.output
    unknown = NO_SEED.get(dialect, set())
    for name, result in probed.results().items():
        assert result == ("unknown" if name in unknown else "pass"), probed.evidence(name)
    assert KEY not in probed.output
    for path in (tmp_path / "out").iterdir():
        assert KEY not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fault", "dialect"),
    [
        (fault, dialect)
        for fault, check in FAULTS.items()
        for dialect in DIALECTS
        if dialect == "openai" or (check in OF_THE_DIALECT and fault not in NOT_IN_MESSAGES)
    ],
)
def test_a_fault_is_found_by_exactly_its_check(fault: str, dialect: str, tmp_path: Path) -> None:
    with serving(Endpoint(fault)) as url:
        probed = probe(url, tmp_path, dialect=dialect)
    failed = {name for name, result in probed.results().items() if result == "fail"}
    assert failed == {FAULTS[fault]}, probed.output
    assert probed.exit_code == 1
    unknown = {name for name, result in probed.results().items() if result == "unknown"}
    assert unknown == NO_SEED.get(dialect, set())


def test_arguments_that_come_whole_are_told_from_chunks(tmp_path: Path) -> None:
    for is_whole, expected in ((True, "whole"), (False, "chunked")):
        with serving(Endpoint(is_whole=is_whole)) as url:
            probed = probe(url, tmp_path / expected, "--only", "streaming")
        card = shipped_catalog(probed.overlay).models[MODEL]
        assert card.capabilities.tool_call_streaming == expected


def test_the_newer_name_of_the_output_limit_is_found(tmp_path: Path) -> None:
    with serving(Endpoint(asks_completion_tokens=True)) as url:
        probed = probe(url, tmp_path, "--only", "tool_round_trip")
    assert probed.results() == {"tool_round_trip": "pass"}


def test_a_usage_that_does_not_tell_of_caches_leaves_them_unknown(tmp_path: Path) -> None:
    with serving(Endpoint("no_cache", tells_cache=False)) as url:
        probed = probe(url, tmp_path, "--only", "cache")
    assert probed.results() == {"cache": "unknown"}
    assert not probed.overlay.exists()


def test_an_answer_that_was_cut_short_is_not_judged(tmp_path: Path) -> None:
    with serving(Endpoint(stops_short=True)) as url:
        probed = probe(url, tmp_path, "--only", "json", "--only", "context", "--only", "streaming")
    assert set(probed.results().values()) == {"unknown"}
    assert "raise --max-output-tokens" in probed.evidence("context")
    assert not probed.overlay.exists()


def test_without_the_endpoints_spending_double_billing_stays_unknown(tmp_path: Path) -> None:
    with serving(Endpoint("double_billing")) as url:
        probed = probe(url, tmp_path, "--only", "retry", "--usage-field", "elsewhere")
    assert probed.results() == {"retry": "unknown"}
    assert "cached of" in probed.evidence("retry")
    assert probed.exit_code == 0
