from pathlib import Path

import msgspec
import numpy as np
import pytest
from routers import CARDS, encoder, joint_predictor, write_artifact

from router_model.errors import ArtifactError
from router_model.golden import GOLDEN, Golden, check_golden, read_golden, write_golden
from router_model.predictor import Blend

PREDICTOR, ENCODER = joint_predictor(), encoder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_artifact(tmp_path, predictor=PREDICTOR)
    return tmp_path


def rewrite(folder: Path, **changes: object) -> None:
    write_golden(msgspec.structs.replace(read_golden(folder), **changes), folder)


def test_the_predictor_that_wrote_them_passes(folder: Path) -> None:
    check_golden(folder, PREDICTOR, ENCODER)


def test_they_hold_cards_contexts_and_a_probability_for_each_pair(folder: Path) -> None:
    golden = read_golden(folder)
    assert golden.models == CARDS
    assert np.array(golden.p_adequate).shape == (2, 3)


def test_a_predictor_that_says_something_else_is_told_apart_by_model(folder: Path) -> None:
    other = joint_predictor(blend=Blend(1.0, 0.300_1))
    with pytest.raises(
        ArtifactError, match=r"context 0: p_adequate of large: got 0\.\d+, the artifact says 0\.\d+"
    ):
        check_golden(folder, other, ENCODER)


def test_a_difference_below_the_tolerance_passes_and_one_above_does_not(folder: Path) -> None:
    (first, *others), *rest = read_golden(folder).p_adequate
    rewrite(folder, p_adequate=((first + 5e-7, *others), *rest))
    check_golden(folder, PREDICTOR, ENCODER)
    rewrite(folder, p_adequate=((first + 2e-6, *others), *rest))
    with pytest.raises(ArtifactError, match="p_adequate of large"):
        check_golden(folder, PREDICTOR, ENCODER)


def test_an_encoder_that_embeds_otherwise_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="context 0: the text's vector differs by"):
        check_golden(folder, PREDICTOR, encoder(seed=1))


def test_a_card_that_describes_another_model_changes_a_new_models_probability(
    folder: Path,
) -> None:
    renamed = tuple(msgspec.structs.replace(card, id=f"new-{card.id}") for card in CARDS)
    rewrite(folder, models=renamed)
    with pytest.raises(ArtifactError, match="p_adequate of new-"):
        check_golden(folder, PREDICTOR, ENCODER)


def test_a_predictor_that_gives_no_numbers_is_refused(folder: Path) -> None:
    broken = joint_predictor()
    broken.adequacy = msgspec.structs.replace(broken.adequacy, beta=np.full(4, np.nan))
    with pytest.raises(ArtifactError, match="context 0: p_adequate: got a value that is not"):
        check_golden(folder, broken, ENCODER)


def test_contexts_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="features, dimensions and models, expected"):
        check_golden(folder, joint_predictor(n_features=3), ENCODER)
    first, *rest = read_golden(folder).contexts
    odd = msgspec.structs.replace(first, features=first.features + b"\x00")
    rewrite(folder, contexts=(odd, *rest))
    with pytest.raises(ArtifactError, match="expected a multiple of 4"):
        check_golden(folder, PREDICTOR, ENCODER)


@pytest.mark.parametrize("field", ["models", "contexts", "p_adequate"])
def test_a_file_that_checks_nothing_is_refused(folder: Path, field: str) -> None:
    rewrite(folder, **{field: ()})
    with pytest.raises(ArtifactError, match="expected models, contexts and a p for each"):
        check_golden(folder, PREDICTOR, ENCODER)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_a_file_that_is_missing_or_damaged_is_refused(folder: Path, content: bytes | None) -> None:
    (folder / GOLDEN).unlink()
    if content is not None:
        (folder / GOLDEN).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"golden\.json: can't be read"):
        check_golden(folder, PREDICTOR, ENCODER)


def test_writing_and_reading_loses_nothing(tmp_path: Path, folder: Path) -> None:
    golden: Golden = read_golden(folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    write_golden(golden, copy)
    assert read_golden(copy) == golden
