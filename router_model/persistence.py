"""A predictor as plain files: JSON for names and scalars, safetensors for arrays."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from router_model.calibration import Calibration
from router_model.errors import ArtifactError
from router_model.heads import ContextScaler, LinearHead, ModelSpace
from router_model.predictor import ADEQUACY, Blend, JointPredictor, LogHead
from router_model.trees import Trees

PREDICTOR_JSON = "predictor.json"
PREDICTOR_ARRAYS = "predictor.safetensors"
TREES = "trees.txt"
_SPACE_ARRAYS = (
    "traits",
    "trait_mean",
    "trait_scale",
    "trait_coef",
    "descriptor_mean",
    "descriptor_scale",
    "components",
)
_HEAD_ARRAYS = ("shared", "own", "beta", "offset")
# The mean of exp(residual): at least 1 in theory, a few in practice.
_SMEARING = 0.1, 1000.0


class _Scalars(Struct, frozen=True, kw_only=True):
    """Everything of a predictor that is not an array."""

    n_features: int
    models: tuple[str, ...]
    calibration: Calibration
    smearing: dict[str, float]
    blend: Blend


def save_predictor(predictor: JointPredictor, folder: Path) -> None:
    """Write a predictor's files into an existing folder."""
    space = predictor.space
    arrays: dict[str, NDArray[Any]] = {
        "scaler.mean": predictor.scaler.mean,
        "scaler.scale": predictor.scaler.scale,
    }
    arrays |= {f"space.{name}": getattr(space, name) for name in _SPACE_ARRAYS}
    arrays["text_components"] = predictor.text_components
    heads = {ADEQUACY: predictor.adequacy}
    heads |= {target: log.head for target, log in predictor.log_heads.items()}
    for target, head in heads.items():
        arrays |= {f"{target}.{name}": getattr(head, name) for name in _HEAD_ARRAYS}
    for target, log in predictor.log_heads.items():
        arrays[f"{target}.is_known"] = log.is_known
    scalars = _Scalars(
        n_features=predictor.n_features,
        models=space.names,
        calibration=predictor.calibration,
        smearing={target: log.smearing for target, log in predictor.log_heads.items()},
        blend=predictor.blend,
    )
    encoded = msgspec.json.format(msgspec.json.encode(scalars), indent=1)
    (folder / PREDICTOR_JSON).write_bytes(encoded + b"\n")
    # safetensors writes the memory as it lies, whatever the strides say.
    contiguous = {name: array.copy(order="C") for name, array in arrays.items()}
    (folder / PREDICTOR_ARRAYS).write_bytes(save(contiguous))
    (folder / TREES).write_text(predictor.trees.text, encoding="utf-8")


def load_predictor(folder: Path) -> JointPredictor:
    """Read what `save_predictor` wrote; ArtifactError when a file is missing or unusable."""
    try:
        scalars = msgspec.json.decode((folder / PREDICTOR_JSON).read_bytes(), type=_Scalars)
        arrays = load((folder / PREDICTOR_ARRAYS).read_bytes())
        scalars.calibration.check()
        for target, smearing in scalars.smearing.items():
            if not _SMEARING[0] <= smearing <= _SMEARING[1]:
                raise ArtifactError(f"{folder}: smearing of {target}: got {smearing:g}")
        space = ModelSpace(
            names=scalars.models,
            **{name: arrays[f"space.{name}"] for name in _SPACE_ARRAYS},
        )

        def head(target: str) -> LinearHead:
            return LinearHead(**{name: arrays[f"{target}.{name}"] for name in _HEAD_ARRAYS})

        predictor = JointPredictor(
            n_features=scalars.n_features,
            scaler=ContextScaler(arrays["scaler.mean"], arrays["scaler.scale"]),
            space=space,
            adequacy=head(ADEQUACY),
            log_heads={
                target: LogHead(head(target), smearing, arrays[f"{target}.is_known"])
                for target, smearing in scalars.smearing.items()
            },
            trees=Trees.load(folder / TREES),
            text_components=arrays["text_components"],
            blend=scalars.blend,
            calibration=scalars.calibration,
        )
    except (OSError, KeyError, SafetensorError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{folder}: the predictor can't be read: {error!r}") from error
    if predictor.trees.n_columns != predictor.n_tree_columns:
        raise ArtifactError(
            f"{folder / TREES}: reads rows of {predictor.trees.n_columns} numbers, expected "
            f"{predictor.n_tree_columns}"
        )
    return predictor
