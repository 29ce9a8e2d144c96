"""Training parameters: one frozen object from one TOML file."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from router_data.rewards import AdequacyRule
from router_model.errors import DatasetError, RouterError


class ParamsError(RouterError):
    """A parameter file that can't be used; names the key, the value and what is allowed."""

    code = "invalid_params"


class TrainingParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a training run depends on besides the data.

    Each field says what it trades.
    """

    encoder: str = "wordllama"
    """Text encoder by name or path; larger ones cost training time, serving cost stays."""
    embedding_dim: int = 128
    """Leading embedding dimensions that are kept; more see finer topics and overfit sooner."""
    n_skills: int = 8
    """Skills by which models are told apart; more tell finer, and need more rows a model."""
    n_model_components: int = 4
    """Components of the model descriptors that meet the context; more tell models apart finer."""
    ridges: tuple[float, ...] = (700.0, 5000.0, 40000.0)
    """Candidate penalties of the linear weights; held-out loss chooses, more take longer."""
    own_ridge_factor: float = 0.5
    """How much more a model's own weights are held back than those shared by all models."""
    n_text_components: int = 16
    """Directions of the text vectors that the trees see; more see more, overfit sooner."""
    max_linear_steps: int = 80
    """Steps of the linear fit; fewer are quicker and stop further from the optimum."""
    n_estimators: int = 300
    """Trees; more fit closer and predict slower."""
    num_leaves: int = 31
    """Leaves a tree; more catch interactions and overfit sooner."""
    min_data_in_leaf: int = 30
    """Least rows in a leaf; more is smoother and misses rare cases."""
    learning_rate: float = 0.07
    """Step of each tree; less needs more trees."""
    n_folds: int = 5
    """Folds of cross-validation; more train on more data and take longer. 0: one per group."""
    n_inner_folds: int = 3
    """Folds inside the training part that choose the operating point; more take longer."""
    calibration: Literal["isotonic", "sigmoid"] = "isotonic"
    """Calibration map; isotonic fits any monotone shape and needs the most data."""
    weighting: Literal["ipw", "none"] = "ipw"
    """Inverse propensities repair a biased log where the model is too simple, and add variance."""
    propensity_power: float = 0.5
    """Weights are propensity ** -power; 1 removes all bias of the log, less has less variance."""
    max_weight: float = 10.0
    """Largest such weight, in means of the model; less has less variance and leaves more bias."""
    max_tenant_share: float = 0.2
    """Largest share of all weight of one tenant; less lets others feel false outcomes less."""
    max_key_share: float = 0.1
    """Largest share of all weight of one key; less lets others feel false outcomes less."""
    seed: int = 0
    """Seed of every random choice in a run."""
    adequacy: AdequacyRule = AdequacyRule()
    """What counts as adequate, and how sure weak signals are; the table `[adequacy]`."""
    test_share: float = 0.2
    """Share of contexts, the latest, that is reported on; more is a surer report, less training."""
    calibration_share: float = 0.15
    """Share of contexts between training and test that calibrates."""
    contract_alphas: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2)
    """Shares of downgraded requests that may be inadequate, to certify; less saves less."""
    contract_delta: float = 0.1
    """Probability that a certified share is exceeded; less needs more outcomes to certify."""
    n_resamples: int = 1000
    """Bootstrap resamples of each interval; more are steadier ends and take longer."""
    min_contexts: int = 50
    """Fewest contexts a run trains on; fewer give a model that only looks like one."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParamsError(f"{name}: got {value}, expected {low} to {high}")
        for alpha in self.contract_alphas:
            if not 0.0 < alpha < 1.0:
                raise ParamsError(
                    f"contract_alphas: got {alpha}, expected more than 0 and less than 1"
                )
        if self.n_folds == 1:
            raise ParamsError("n_folds: got 1, expected 0 (one per group) or at least 2")
        if self.test_share + self.calibration_share >= 1:
            raise ParamsError(
                f"test_share + calibration_share: got "
                f"{self.test_share + self.calibration_share:g}, expected less than 1"
            )


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("embedding_dim", 0, 4096),
    ("n_skills", 0, 64),
    ("n_model_components", 0, 64),
    ("own_ridge_factor", 0.1, 1e9),
    ("n_text_components", 0, 4096),
    ("max_linear_steps", 1, 100_000),
    ("n_estimators", 1, 100_000),
    ("num_leaves", 2, 131_072),
    ("min_data_in_leaf", 1, 1_000_000),
    ("learning_rate", 1e-6, 1.0),
    ("n_folds", 0, 1000),
    ("n_inner_folds", 2, 1000),
    ("propensity_power", 0.0, 1.0),
    ("max_weight", 1.0, 1e6),
    ("max_tenant_share", 0.001, 1.0),
    ("max_key_share", 0.001, 1.0),
    ("test_share", 0.01, 0.9),
    ("calibration_share", 0.01, 0.9),
    ("contract_delta", 1e-6, 0.5),
    ("n_resamples", 1, 1_000_000),
    ("min_contexts", 3, 1_000_000_000),
)


def load_params(path: Path) -> TrainingParams:
    """Parameters of a TOML file; what it leaves out keeps its default. Raises ParamsError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file, expected a TOML file of parameters") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid TOML: {error}") from error
    try:
        return params_from(values)
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from error


def params_from(values: dict[str, Any]) -> TrainingParams:
    """Parameters of a mapping. Raises ParamsError for unknown keys and unusable values."""
    _require_known(values, TrainingParams.__struct_fields__)
    rule = values.get("adequacy")
    if isinstance(rule, dict):
        _require_known(rule, AdequacyRule.__struct_fields__, table="adequacy.")
    try:
        return msgspec.convert(values, TrainingParams)
    except msgspec.ValidationError as error:
        raise ParamsError(str(error)) from error
    except DatasetError as error:
        raise ParamsError(f"adequacy.{error}") from error


def as_dict(params: TrainingParams) -> dict[str, Any]:
    """Every parameter by name, as it is logged with a run."""
    rule = msgspec.structs.asdict(params.adequacy)
    return msgspec.structs.asdict(params) | {"adequacy": rule}


def _require_known(values: dict[str, Any], allowed: tuple[str, ...], *, table: str = "") -> None:
    for key in values:
        if key not in allowed:
            raise ParamsError(f"unknown key '{table}{key}', allowed are {', '.join(allowed)}")
