"""Loads what an artifact was trained to be, and checks that it fits itself and this version."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from router_model import artifact, features
from router_model.artifact import Manifest
from router_model.descriptors import DESCRIPTOR_NAMES
from router_model.encoder import StaticEncoder
from router_model.errors import ArtifactError
from router_model.golden import check_golden
from router_model.persistence import load_predictor
from router_model.policy import CheapestAdequate
from router_model.predictor import JointPredictor


class Learned(NamedTuple):
    """What an artifact can't be without."""

    manifest: Manifest
    encoder: StaticEncoder
    predictor: JointPredictor
    policy: CheapestAdequate


def load_learned(path: Path) -> Learned:
    """The learned parts of an artifact, every file's hash checked first.

    Raises ArtifactError where the folder is incomplete, altered, made for another feature schema,
    or where its golden predictions do not come out again.
    """
    manifest = artifact.verify(path)
    if manifest.feature_schema != features.SCHEMA.hash:
        raise ArtifactError(
            f"{path}: trained for feature schema {manifest.feature_schema[:12]}, this version "
            f"computes {features.SCHEMA.hash[:12]}; retrain, or install the matching version"
        )
    encoder = StaticEncoder.load(path)
    if encoder.hash != manifest.encoder:
        raise ArtifactError(
            f"{path}: trained with encoder {manifest.encoder}, holds {encoder.hash}"
        )
    predictor = load_predictor(path)
    sizes = (predictor.n_features, predictor.n_dimensions, predictor.n_descriptors)
    expected = (features.SCHEMA.n, encoder.dimension, len(DESCRIPTOR_NAMES))
    if sizes != expected:
        raise ArtifactError(
            f"{path}: the predictor reads {sizes} features, dimensions and descriptors, "
            f"expected {expected}"
        )
    check_golden(path, predictor, encoder)
    return Learned(manifest, encoder, predictor, _policy(manifest, path))


def _policy(manifest: Manifest, path: Path) -> CheapestAdequate:
    try:
        return msgspec.convert(manifest.policy, CheapestAdequate)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{path}: policy in the manifest: {error}") from error
