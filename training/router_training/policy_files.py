"""Reads a policy to evaluate from a file: settings as TOML, or a function as Python.

    policy = "cheapest_adequate"    # with any of CheapestAdequate's settings
    min_adequacy = 0.8

    policy = "fixed"                # or "mixture" with models = ["a", "b"] and share = 0.3
    model = "small-model"

    policy = "artifact"             # another artifact's predictor and policy
    folder = "./var/challenger"

    policy = "logged"               # what wrote the log

A `.py` file defines `def policy(decision)`, which returns a model's name or probabilities by
name; see `router_training.decision_view.DecisionView` for what a decision holds. The file is run:
it is the caller's own code.
"""

import runpy
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from router_model.errors import ArtifactError
from router_model.policy import CheapestAdequate
from router_training.target_policies import (
    ArtifactPolicy,
    CheapestAdequatePolicy,
    FixedPolicy,
    FunctionPolicy,
    LoggedPolicy,
    MixturePolicy,
    PolicyError,
    TargetPolicy,
    failure_of,
)


class _Fixed(Struct, forbid_unknown_fields=True):
    model: str


class _Mixture(Struct, forbid_unknown_fields=True):
    models: tuple[str, str]
    share: float


class _Artifact(Struct, forbid_unknown_fields=True):
    folder: str


class _Logged(Struct, forbid_unknown_fields=True):
    pass


def load_policy(path: Path) -> TargetPolicy:
    """The policy of a `.toml` or `.py` file. Raises PolicyError naming the file and the key."""
    if not path.is_file():
        raise PolicyError(f"{path}: no such file, expected a .toml or .py file with a policy")
    if path.suffix == ".py":
        return _function_of(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: not valid TOML: {error}") from error
    kind = settings.pop("policy", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PolicyError(f"{path}: policy: got {kind!r}, expected one of {', '.join(_KINDS)}")
    try:
        return _KINDS[kind](settings, path)
    except (msgspec.ValidationError, ArtifactError) as error:
        raise PolicyError(f"{path}: {error}") from error


def _function_of(path: Path) -> TargetPolicy:
    try:
        function = runpy.run_path(str(path)).get("policy")
    except (Exception, SystemExit) as error:  # the caller's own code
        raise PolicyError(f"{path}: {failure_of(error)}") from error
    if not callable(function):
        raise PolicyError(f"{path}: policy: got {function!r}, expected `def policy(decision)`")
    return FunctionPolicy(function, name=path.stem)


def _cheapest_adequate(settings: Mapping[str, Any], path: Path) -> TargetPolicy:
    allowed = CheapestAdequate.__struct_fields__
    for key in settings:
        if key not in allowed:
            raise PolicyError(f"{path}: unknown key {key!r}, allowed are {', '.join(allowed)}")
    return CheapestAdequatePolicy(msgspec.convert(settings, CheapestAdequate))


def _fixed(settings: Mapping[str, Any], path: Path) -> TargetPolicy:
    return FixedPolicy(msgspec.convert(settings, _Fixed).model)


def _mixture(settings: Mapping[str, Any], path: Path) -> TargetPolicy:
    given = msgspec.convert(settings, _Mixture)
    if not 0.0 <= given.share <= 1.0:
        raise PolicyError(f"{path}: share: got {given.share}, expected 0 to 1")
    return MixturePolicy(given.models, given.share)


def _artifact(settings: Mapping[str, Any], path: Path) -> TargetPolicy:
    folder = Path(msgspec.convert(settings, _Artifact).folder)
    if not folder.is_absolute() and not folder.is_dir():
        folder = path.parent / folder
    if not folder.is_dir():
        raise PolicyError(f"{path}: folder: got {folder}, expected an existing artifact folder")
    return ArtifactPolicy(folder)


def _logged(settings: Mapping[str, Any], path: Path) -> TargetPolicy:
    msgspec.convert(settings, _Logged)
    return LoggedPolicy()


_KINDS: Mapping[str, Callable[[Mapping[str, Any], Path], TargetPolicy]] = {
    "cheapest_adequate": _cheapest_adequate,
    "fixed": _fixed,
    "mixture": _mixture,
    "artifact": _artifact,
    "logged": _logged,
}
