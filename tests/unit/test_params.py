"""Training parameters come from one file, and nothing in it is ignored."""

from pathlib import Path

import msgspec
import pytest
from paths import REPO

from router_data.rewards import AdequacyRule
from router_training.params import ParamsError, TrainingParams, as_dict, load_params


def written(folder: Path, text: str) -> Path:
    path = folder / "params.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_params(written(tmp_path, "")) == TrainingParams()


def test_a_value_in_the_file_replaces_the_default(tmp_path: Path) -> None:
    assert load_params(written(tmp_path, "n_folds = 7")).n_folds == 7


def test_an_unknown_key_is_an_error_that_names_it_and_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"unknown key 'n_fold', allowed are .*n_folds") as info:
        load_params(written(tmp_path, "n_fold = 7"))
    assert "params.toml" in str(info.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 0", "learning_rate: got 0.0, expected 1e-06 to 1"),
        ("n_folds = 1", "n_folds: got 1, expected 0"),
        ("n_folds = -2", "n_folds: got -2, expected 0 to"),
        ("test_share = 0.6\ncalibration_share = 0.5", "got 1.1, expected less than 1"),
        ("contract_alphas = [0.1, 1.0]", "contract_alphas: got 1.0, expected more than 0"),
        ("contract_delta = 0.9", "contract_delta: got 0.9, expected 1e-06 to 0.5"),
        ('calibration = "platt"', "platt"),
        ('n_folds = "five"', "n_folds"),
        ("encoder = 3", "encoder"),
        ("adequacy = 3", "adequacy"),
        ("[adequacy]\nretry = 0.5", r"unknown key 'adequacy\.retry', allowed are .*retried"),
        ("[adequacy]\nretried = 1.5", r"adequacy\.retried: got 1\.5, expected 0 to 1"),
        ("[adequacy]\nretried = true", r"retried"),
        ("n_folds = ", "not valid TOML"),
    ],
)
def test_an_unusable_value_is_an_error_that_names_it(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        load_params(written(tmp_path, text))


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"none\.toml: no such file"):
        load_params(tmp_path / "none.toml")


def test_parameters_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        TrainingParams().seed = 3  # type: ignore[misc]  # that it is refused is the test


def test_every_parameter_is_logged_and_comes_back_the_same() -> None:
    params = TrainingParams(seed=4)
    values = as_dict(params)
    assert values.keys() == set(TrainingParams.__struct_fields__)
    assert msgspec.convert(values, TrainingParams) == params


def test_the_file_in_the_training_folder_holds_every_default() -> None:
    path = REPO / "training" / "params.toml"
    assert load_params(path) == TrainingParams()
    text = path.read_text()
    names = [*TrainingParams.__struct_fields__, *AdequacyRule.__struct_fields__]
    missing = [name for name in names if f"\n{name} = " not in text]
    assert missing == ["adequacy"]
    assert "\n[adequacy]\n" in text


def test_the_table_of_adequacy_sets_the_rule(tmp_path: Path) -> None:
    params = load_params(written(tmp_path, "[adequacy]\nretried = 0.0\nmin_reward = 0.8"))
    assert params.adequacy == AdequacyRule(retried=0.0, min_reward=0.8)
