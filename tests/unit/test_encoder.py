from pathlib import Path

import numpy as np
import pytest
from routers import N_DIMENSIONS, encoder

from router_model.encoder import (
    MAX_TOKENS,
    TABLE_FILE,
    TOKENIZER_FILE,
    StaticEncoder,
)
from router_model.errors import ArtifactError

ENCODER = encoder()


def test_a_text_becomes_a_unit_vector_of_float32() -> None:
    vector = ENCODER.encode("fix the test")
    assert vector.shape == (N_DIMENSIONS,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=2e-3)


def test_a_vector_survives_the_float16_of_the_log_bit_for_bit() -> None:
    vector = ENCODER.encode("rename file")
    assert np.array_equal(vector.astype(np.float16).astype(np.float32), vector)


def test_a_text_without_tokens_is_zero() -> None:
    assert ENCODER.encode("").tolist() == [0.0] * N_DIMENSIONS
    assert ENCODER.encode("   \n").tolist() == [0.0] * N_DIMENSIONS


def test_a_text_that_comes_again_has_the_vector_that_nobody_changed() -> None:
    first = ENCODER.encode("fix the test again")
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0
    assert ENCODER.encode("fix the test again").tolist() == first.tolist()
    assert encoder().encode("fix the test again").tolist() == first.tolist()


def test_a_vector_is_the_scaled_mean_of_its_tokens() -> None:
    words = ENCODER.encode("fix"), ENCODER.encode("the")
    both = ENCODER.encode("fix the")
    plane = np.stack(words)
    share, residual, *_ = np.linalg.lstsq(plane.T, both, rcond=None)
    assert (share > 0).all()
    assert float(residual.sum()) < 1e-4


def test_the_order_of_tokens_is_irrelevant_bit_for_bit() -> None:
    assert ENCODER.encode("fix the test").tobytes() == ENCODER.encode("test the fix").tobytes()


def test_only_the_first_tokens_count() -> None:
    head = "a " * MAX_TOKENS
    assert ENCODER.encode(head).tobytes() == ENCODER.encode(head + "b c d").tobytes()
    assert ENCODER.encode(head[4:]).tobytes() != ENCODER.encode(head[4:] + "b c d").tobytes()


def test_odd_characters_do_not_break_it() -> None:
    for text in ("\x00", "🦀" * 1000, "\ufeff", "ÄÖ\u202e"):
        assert np.isfinite(ENCODER.encode(text)).all()


def test_quantising_keeps_the_direction_and_the_leading_dimensions() -> None:
    vectors = np.random.default_rng(0).normal(size=(len(ENCODER.table), 8))
    cut = StaticEncoder.from_table(vectors, _json(), name="x", dimension=5)
    assert cut.dimension == 5
    assert np.allclose(cut.table * cut.scale, vectors[:, :5], atol=float(cut.scale.max()))


def test_a_dimension_that_is_zero_everywhere_stays_zero() -> None:
    vectors = np.random.default_rng(0).normal(size=(len(ENCODER.table), 3))
    vectors[:, 1] = 0.0
    vector = StaticEncoder.from_table(vectors, _json(), name="x", dimension=3).encode("fix")
    assert vector[1] == 0.0
    assert np.isfinite(vector).all()


def test_files_give_the_same_encoder(tmp_path: Path) -> None:
    ENCODER.save(tmp_path)
    again = StaticEncoder.load(tmp_path)
    assert again.hash == ENCODER.hash
    assert again.encode("why list all").tobytes() == ENCODER.encode("why list all").tobytes()


def test_the_hash_changes_with_the_table_and_with_the_tokenizer() -> None:
    assert encoder(seed=1).hash != ENCODER.hash
    other = StaticEncoder(ENCODER.table, ENCODER.scale, _json() + " ", name="x")
    assert other.hash != ENCODER.hash


def test_a_table_with_fewer_rows_than_tokens_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"tokenizer has \d+ tokens, the table only 3 rows"):
        StaticEncoder(ENCODER.table[:3], ENCODER.scale, _json(), name="x")


@pytest.mark.parametrize("name", [TABLE_FILE, TOKENIZER_FILE])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe not it"])
def test_files_that_are_missing_or_damaged_are_refused(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    ENCODER.save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="can't be read"):
        StaticEncoder.load(tmp_path)


def test_the_packaged_table_of_words_needs_no_download() -> None:
    packaged = StaticEncoder.from_sentence_transformer("wordllama", dimension=32)
    near = packaged.encode("fix the bug") @ packaged.encode("repair the defect")
    far = packaged.encode("fix the bug") @ packaged.encode("poem about the sea")
    assert near > far


def _json() -> str:
    return ENCODER._tokenizer_json


def test_an_unknown_model_is_refused_without_a_download() -> None:
    # It once asked a hub on the network.
    with pytest.raises(ArtifactError, match="nothing is downloaded"):
        StaticEncoder.from_sentence_transformer("no/such-model", dimension=8)


def test_an_encoder_goes_through_one_file_unchanged() -> None:
    data = ENCODER.to_bytes()
    again = StaticEncoder.from_bytes(data)
    assert again.hash == ENCODER.hash
    assert again.encode("fix the test").tobytes() == ENCODER.encode("fix the test").tobytes()
    assert again.to_bytes() == data


@pytest.mark.parametrize("data", [b"", b"no safetensors", ENCODER.to_bytes()[:-9]])
def test_bytes_that_hold_no_encoder_are_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"encoder: \d+ bytes can't be read"):
        StaticEncoder.from_bytes(data)
