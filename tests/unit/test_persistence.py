from pathlib import Path

import msgspec
import numpy as np
import pytest
from routers import grown, joint_predictor
from safetensors.numpy import load, save

from router_model.errors import ArtifactError
from router_model.persistence import (
    PREDICTOR_ARRAYS,
    PREDICTOR_JSON,
    TREES,
    load_predictor,
    save_predictor,
)

PREDICTOR = joint_predictor(n_features=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_predictor(PREDICTOR, tmp_path)
    return tmp_path


def rewrite_json(folder: Path, **changes: object) -> None:
    path = folder / PREDICTOR_JSON
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes))


def test_three_files_hold_a_predictor(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {PREDICTOR_JSON, PREDICTOR_ARRAYS, TREES}


def test_every_number_and_name_comes_back(folder: Path) -> None:
    again = load_predictor(folder)
    assert again.space.names == PREDICTOR.space.names
    assert again.calibration == PREDICTOR.calibration
    assert again.blend == PREDICTOR.blend
    assert again.n_features == PREDICTOR.n_features
    assert again.trees.text == PREDICTOR.trees.text
    for name in ("shared", "own", "beta", "offset"):
        assert np.array_equal(getattr(again.adequacy, name), getattr(PREDICTOR.adequacy, name))
    assert set(again.log_heads) == set(PREDICTOR.log_heads)
    assert {t: h.smearing for t, h in again.log_heads.items()} == {
        t: h.smearing for t, h in PREDICTOR.log_heads.items()
    }


def test_transposed_arrays_are_written_in_their_own_order(tmp_path: Path) -> None:
    turned = joint_predictor(n_features=4)
    turned.text_components = np.asfortranarray(turned.text_components)
    save_predictor(turned, tmp_path)
    assert np.array_equal(load_predictor(tmp_path).text_components, turned.text_components)


def test_infinite_scales_of_constant_columns_come_back(tmp_path: Path) -> None:
    constant = joint_predictor(n_features=4)
    constant.scaler.scale[1] = np.inf
    save_predictor(constant, tmp_path)
    assert load_predictor(tmp_path).scaler.scale[1] == np.inf


@pytest.mark.parametrize("name", [PREDICTOR_JSON, PREDICTOR_ARRAYS, TREES])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe{"])
def test_files_that_are_missing_or_damaged_are_refused(
    folder: Path, name: str, content: bytes | None
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError):
        load_predictor(folder)


def test_an_array_that_is_missing_is_named(folder: Path) -> None:
    arrays = load((folder / PREDICTOR_ARRAYS).read_bytes())
    del arrays["adequacy.beta"]
    (folder / PREDICTOR_ARRAYS).write_bytes(save(arrays))
    with pytest.raises(ArtifactError, match=r"adequacy\.beta"):
        load_predictor(folder)


def test_a_calibration_that_falls_is_refused(folder: Path) -> None:
    rewrite_json(folder, calibration={"raw": [0.0, 1.0], "calibrated": [1.0, 0.0]})
    with pytest.raises(ArtifactError, match="rise strictly"):
        load_predictor(folder)


def test_scalars_that_are_null_are_refused(folder: Path) -> None:
    rewrite_json(folder, blend={"linear": None, "trees": 1.0})
    with pytest.raises(ArtifactError, match="blend"):
        load_predictor(folder)


def test_trees_of_another_width_are_refused_before_they_read_past_a_row(folder: Path) -> None:
    # LightGBM's single-row call does not look at the width: it read memory beyond the row.
    (folder / TREES).write_text(grown(PREDICTOR.n_tree_columns + 3).model_to_string())
    with pytest.raises(ArtifactError, match=r"trees\.txt: reads rows of \d+ numbers, expected"):
        load_predictor(folder)
