"""The checks of the gate between challenger and champion, one by one."""

from pathlib import Path

import numpy as np
import pytest
import routers
from gate_samples import RESAMPLING, artifact, gain
from hypothesis import given
from hypothesis import strategies as st

from router_model.contract import Certified, Contracts
from router_model.policy import CheapestAdequate
from router_model.types import Candidate
from router_training.artifact_probe import probe
from router_training.certification import Sample
from router_training.gate import Limits
from router_training.gate_checks import check_contracts, check_gain, check_slices
from router_training.gate_gain import choices
from router_training.gate_run import check_artifact, check_latency

# ---- what is gained


def test_no_loss_within_the_margin_is_shown_by_the_lower_end() -> None:
    rng = np.random.default_rng(0)
    found = check_gain(
        gain(rng.normal(0.0, 0.01, 1000)), Limits(), resampling=RESAMPLING, is_deciding=True
    )
    # the margin is 0.02 x 0.25
    assert found.is_ok
    assert found.figures["margin"] == pytest.approx(0.005)
    half = found.figures["estimate"] - found.figures["low"]
    assert half == pytest.approx(1.96 * 0.01 / np.sqrt(1000), rel=0.1)


@pytest.mark.parametrize(
    ("mean", "spread", "is_deciding", "is_ok", "text"),
    [
        (-0.1, 0.01, True, False, "worse by more than the margin of 0.005"),
        (0.0, 1.0, True, False, "can't tell whether the loss is within"),
        (0.0, 1.0, False, True, "can't tell"),
        (-0.1, 0.01, False, False, "worse by more"),
    ],
)
def test_what_cannot_be_shown_counts_against_it_where_it_decides(
    mean: float, spread: float, is_deciding: bool, is_ok: bool, text: str
) -> None:
    values = mean + spread * np.random.default_rng(1).normal(size=200)
    found = check_gain(gain(values), Limits(), resampling=RESAMPLING, is_deciding=is_deciding)
    assert found.is_ok is is_ok
    assert text in found.text


def test_a_tenant_that_surely_loses_is_named_and_small_ones_are_left() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.02, 0.01, 400), rng.normal(-0.05, 0.01, 200), [-9.0]])
    tenant = np.array(["acme"] * 400 + ["beta"] * 200 + ["tiny"], dtype=object)
    by_tenant, by_step = check_slices(gain(values, tenant=tenant), Limits())
    assert not by_tenant.is_ok
    assert "beta -0.049949" in by_tenant.text
    assert "acme" not in by_tenant.text
    assert by_tenant.figures["n_slices"] == 2
    assert by_tenant.figures["beta.high"] < -0.005
    assert by_step.is_ok


@given(
    st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(1e-4, 0.2)), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.sampled_from([0.001, 0.25]),
)
def test_choices_are_those_of_the_served_policy(
    options: list[tuple[float, float]], threshold: float, failure: float
) -> None:
    policy = CheapestAdequate(min_adequacy=threshold, failure_cost_usd=failure)
    candidates = [
        Candidate(
            model=f"m{i}", p_adequate=p, expected_cost=c, input_tokens=1, cached_tokens=0,
            output_tokens=1.0, tool_call_latency_ms=1.0,
        )
        for i, (p, c) in enumerate(options)
    ]  # fmt: skip
    served = policy.choose(candidates).ranked[0]
    p, cost = (np.array([[option[i] for option in options]]) for i in (0, 1))
    found = candidates[int(choices(policy, p, cost, failure_usd=np.array([failure]))[0])]
    if threshold:
        assert (found.p_adequate >= threshold) == (served.p_adequate >= threshold)
        key = "expected_cost" if served.p_adequate >= threshold else "p_adequate"
        assert getattr(found, key) == getattr(served, key)
    else:
        totals = [c.expected_cost + (1 - c.p_adequate) * failure for c in (found, served)]
        assert totals[0] == pytest.approx(totals[1])


# ---- promises


def sample(n: int, rate: float) -> Sample:
    """Requests with both outcomes: the cheap model is adequate with probability 1 - rate."""
    rng = np.random.default_rng(0)
    return Sample(
        tenant=np.array(["acme"] * n, dtype=object),
        group=np.array([f"g{i}" for i in range(n)], dtype=object),
        p=np.tile([0.9, 0.95], (n, 1)),
        cost=np.tile([1.0, 9.0], (n, 1)),
        adequate=np.column_stack([rng.random(n) >= rate, np.ones(n)]).astype(np.float64),
        propensity=np.ones((n, 2)),
        action=np.zeros(n, dtype=np.int64),
    )


def promise(tenant: str = "*", min_adequacy: float | None = 0.8) -> Contracts:
    return Contracts.of(
        [
            Certified(
                tenant=tenant, alpha=0.05, delta=0.1, min_adequacy=min_adequacy,
                n=100, n_downgraded=50, bound=None if min_adequacy is None else 0.04,
            )
        ]
    )  # fmt: skip


def test_a_promise_is_kept_when_its_upper_bound_is_below_alpha() -> None:
    (found,) = check_contracts(promise(), sample(45, 0.0))
    assert found.is_ok
    # Clopper-Pearson: none of 45 is at most 1 - 0.1 ** (1 / 45)
    assert found.figures["bound"] == pytest.approx(1 - 0.1 ** (1 / 45), abs=1e-4)
    assert found.figures["n_downgraded"] == 45


def test_a_promise_that_is_broken_or_cannot_be_shown_counts_against_it() -> None:
    for rows in (sample(300, 0.2), sample(30, 0.0)):
        (found,) = check_contracts(promise(), rows)
        assert not found.is_ok
        assert found.text.startswith("not shown to be kept")
    (found,) = check_contracts(promise(), None)
    assert found.text.startswith("can't tell")


def test_where_nothing_is_promised_or_downgraded_nothing_is_broken() -> None:
    assert check_contracts(Contracts({}), None)[0].is_ok
    assert check_contracts(promise(min_adequacy=None), None)[0].is_ok
    strict = check_contracts(promise(min_adequacy=0.99), sample(40, 1.0))
    assert (strict[0].is_ok, strict[0].text) == (True, "nothing is downgraded")
    (own,) = check_contracts(promise(tenant="acme"), sample(60, 0.0))
    assert own.code == "contract.acme.0.05"


# ---- the artifact


def test_an_artifact_that_loads_as_in_the_service_passes(tmp_path: Path) -> None:
    found = check_artifact(artifact(tmp_path))
    assert found.is_ok, found.text
    assert found.figures["median_us"] > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [("trees.txt", "altered"), ("MODEL_CARD.md", "MODEL_CARD"), ("contracts.json", "contracts")],
)
def test_an_altered_or_incomplete_artifact_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    artifact(tmp_path)
    if name == "trees.txt":
        (tmp_path / name).write_text("tree")
    else:
        (tmp_path / name).unlink()
        routers.seal(tmp_path)
    found = check_artifact(tmp_path)
    assert not found.is_ok
    assert message in found.text


def test_goldens_that_do_not_come_out_again_are_refused_in_a_process_of_its_own(
    tmp_path: Path,
) -> None:
    artifact(tmp_path)
    path = tmp_path / "golden.json"
    text = path.read_text()
    start = text.index('"p_adequate"')
    path.write_text(text[:start] + text[start:].replace("0.", "0.1", 1))
    routers.seal(tmp_path)
    found = check_artifact(tmp_path)
    assert not found.is_ok
    assert "p_adequate" in found.text


def test_latency_is_compared_in_one_process(tmp_path: Path) -> None:
    ours, theirs = artifact(tmp_path / "a"), artifact(tmp_path / "b")
    timings = probe(ours, theirs)
    assert len(timings) == 2
    assert all(t.p95_us >= t.median_us > 0 for t in timings)
    assert check_latency(ours, theirs, Limits(max_latency_ratio=5.0)).is_ok
    strict = check_latency(ours, theirs, Limits(max_latency_ratio=0.01))
    assert not strict.is_ok
    assert "at most 0.01 is allowed" in strict.text
