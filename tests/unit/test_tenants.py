from pathlib import Path

import numpy as np
import pytest

from router_model.calibration import Calibration
from router_model.errors import ArtifactError
from router_model.tenants import TENANTS, TenantOffset, TenantOffsets, load_tenants, save_tenants

ACME = TenantOffset(level=-0.5, models={"openai/gpt-x": 0.25, "b": 1.0}, n=40)
OFFSETS = TenantOffsets({"acme": ACME, "firm": TenantOffset(level=1.0, models={})})


def test_a_tenants_level_moves_every_model_and_its_offset_one() -> None:
    found = OFFSETS.for_models("acme", ["b", "gpt-x", "GPT-X", "never used"])
    assert found is not None
    assert found.dtype == np.float64
    assert found.tolist() == [0.5, -0.25, -0.25, -0.5]


def test_an_unknown_tenant_is_where_everybody_is() -> None:
    assert OFFSETS.for_models("new", ["b"]) is None
    assert TenantOffsets().for_models("acme", ["b"]) is None


def test_each_context_has_its_tenants_offsets() -> None:
    table = OFFSETS.for_contexts(["firm", "new", "acme", "firm"], ["b", "c"])
    assert table.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.5, -0.5], [1.0, 1.0]]


def test_the_shift_is_added_to_calibrated_log_odds() -> None:
    doubled = Calibration((-1.0, 1.0), (-2.0, 2.0))
    p = doubled.probability(np.array([0.5]), shift=np.array([-1.0]))
    assert p.tolist() == [0.5]


def test_offsets_survive_a_file(tmp_path: Path) -> None:
    save_tenants(OFFSETS, tmp_path)
    assert load_tenants(tmp_path) == OFFSETS


def test_without_offsets_there_is_no_file_and_without_a_file_no_offsets(tmp_path: Path) -> None:
    save_tenants(TenantOffsets(), tmp_path)
    assert not list(tmp_path.iterdir())
    assert load_tenants(tmp_path) == TenantOffsets()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "truncated"),
        ('{"tenants": {"acme": {"level": "high", "models": {}}}}', "float"),
        ('{"tenants": {"acme": {"level": 90.0, "models": {}}}}', "got an offset of 90.0"),
        ('{"tenants": {"acme": {"level": 0.0, "models": {"b": 1e300}}}}', "1e\\+300"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / TENANTS).write_text(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_tenants(tmp_path)
    assert TENANTS in str(caught.value)
