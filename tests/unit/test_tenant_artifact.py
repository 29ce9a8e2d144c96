from pathlib import Path

import numpy as np
import pytest
from routers import contexts, encoder, joint_predictor

from router_model.embedding import N_MATCH
from router_model.errors import ArtifactError
from router_model.tenants import TENANTS, TenantOffset, TenantOffsets
from router_training.artifacts import load_artifact, write_artifact
from router_training.fit import FittedPredictor

JOINT = joint_predictor()
OFFSETS = TenantOffsets({"acme": TenantOffset(level=-1.0, models={}, n=12)})


def write(folder: Path, offsets: TenantOffsets) -> FittedPredictor:
    fitted = FittedPredictor(JOINT.space.names, JOINT, offsets)
    write_artifact(fitted, folder, encoder=encoder(), about={})
    return load_artifact(folder)


def test_an_artifact_holds_its_tenants_offsets_and_predicts_with_them(tmp_path: Path) -> None:
    loaded = write(tmp_path, OFFSETS)
    assert loaded.tenants == OFFSETS
    features, embedding = contexts(2, n_features=JOINT.n_features)
    assert embedding.shape[1] == JOINT.n_dimensions + N_MATCH
    everybody, p = (
        loaded.predict(features, embedding, loaded.models, tenant=tenant).p_adequate
        for tenant in (None, ["acme", "new"])
    )
    assert (p[0] < everybody[0]).all()
    assert np.array_equal(p[1], everybody[1])


def test_altered_offsets_are_refused(tmp_path: Path) -> None:
    write(tmp_path, OFFSETS)
    path = tmp_path / TENANTS
    path.write_text(path.read_text().replace("-1.0", "3.0"))
    with pytest.raises(ArtifactError, match="altered"):
        load_artifact(tmp_path)


def test_an_artifact_without_tenants_has_no_such_file(tmp_path: Path) -> None:
    assert write(tmp_path, TenantOffsets()).tenants == TenantOffsets()
    assert not (tmp_path / TENANTS).exists()
