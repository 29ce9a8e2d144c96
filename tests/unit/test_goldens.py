from pathlib import Path

import numpy as np
import pytest
from routers import CARDS, encoder, joint_predictor, router, seal, write_artifact

from router_data.prices import shipped_catalog
from router_model.errors import ArtifactError
from router_model.features import SCHEMA
from router_model.golden import GOLDEN, read_golden
from router_model.policy import CheapestAdequate
from router_model.router import Router
from router_serving.artifact_probe import main
from router_training.artifacts import write_artifact as write_trained
from router_training.fit import FittedPredictor
from router_training.goldens import N_MODELS, golden_cards, golden_contexts


def test_the_contexts_differ_in_features_and_kind() -> None:
    contexts = golden_contexts()
    assert len(contexts) >= 4
    assert len({context.values.tobytes() for context in contexts}) == len(contexts)
    assert len({context.step_type for context in contexts}) > 1
    assert any(context.tool_texts.names for context in contexts)
    assert all(len(context.values) == SCHEMA.n for context in contexts)


def test_up_to_half_of_the_models_were_seen_in_training() -> None:
    ids = sorted(shipped_catalog().models)
    assert len(golden_cards(())) == N_MODELS
    half = [card.id for card in golden_cards(ids)][: N_MODELS // 2]
    assert half == ids[: N_MODELS // 2]
    one = golden_cards([ids[-1], "not-in-the-catalog"])
    assert one[0].id == ids[-1]
    assert len({card.id for card in one}) == N_MODELS


def test_a_written_artifact_loads_and_says_the_same(tmp_path: Path) -> None:
    joint = joint_predictor()
    fitted = FittedPredictor(joint.space.names, joint)
    policy = CheapestAdequate(failure_cost_usd=0.5)
    write_trained(fitted, tmp_path, encoder=encoder(), about={}, policy=policy)
    loaded = Router.load(tmp_path)
    assert loaded.policy == policy
    assert GOLDEN in loaded.manifest.files
    golden = read_golden(tmp_path)
    assert np.array(golden.p_adequate).shape == (len(golden_contexts()), N_MODELS)
    # The router's own catalog does not matter to the check.
    assert Router.load(tmp_path, catalog=router(CARDS).catalog).versions.artifact


def test_the_services_throw_away_load_refuses_an_artifact_that_says_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_artifact(tmp_path)
    assert main([str(tmp_path)]) == 0
    golden = (tmp_path / GOLDEN).read_text()
    p = str(read_golden(tmp_path).p_adequate[0][0])
    assert p in golden
    (tmp_path / GOLDEN).write_text(golden.replace(p, "0.123456789"))
    seal(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert "the artifact says 0.123456789" in capsys.readouterr().err
    with pytest.raises(ArtifactError):
        Router.load(tmp_path)
