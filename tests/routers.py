"""Small predictors and routers made by hand, with weights that a reader can follow."""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightgbm
import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from router_model import artifact
from router_model.behaviour import NO_BEHAVIOUR, Behaviour
from router_model.calibration import Calibration
from router_model.catalog import Catalog, catalog_of
from router_model.contract import Certified, Contracts
from router_model.descriptors import DESCRIPTOR_NAMES, describe
from router_model.embedding import N_MATCH
from router_model.encoder import StaticEncoder
from router_model.features import SCHEMA, extract
from router_model.golden import golden_of, write_golden
from router_model.heads import ContextScaler, Floats, LinearHead, ModelSpace
from router_model.persistence import save_predictor
from router_model.policy import CheapestAdequate
from router_model.predictor import LATENCY, OUTPUT_TOKENS, Blend, JointPredictor, LogHead
from router_model.router import CATALOG_FILE, Router
from router_model.session_view import NO_SESSION, Prefix, SessionView
from router_model.tenants import TenantOffsets
from router_model.trees import Trees
from router_model.types import (
    Capabilities,
    Message,
    ModelCard,
    Part,
    PriceCard,
    Request,
    ToolSpec,
)

N_DIMENSIONS, N_TEXT, N_TRAITS = 4, 2, 2
N_DESCRIPTORS = len(DESCRIPTOR_NAMES)
SEEN = ("large", "medium", "small")
ABILITIES = {"large": 2.0, "medium": 1.0, "small": 0.0}
WORDS = ("fix", "the", "test", "rename", "file", "why", "list", "all")


def card(name: str, *, output: float, **changes: object) -> ModelCard:
    """A model that can do everything; input costs a fifth of the output."""
    plain = ModelCard(
        id=name,
        provider="acme",
        snapshot=f"{name}-1",
        family=name,
        context_window=100_000,
        max_output_tokens=8_000,
        capabilities=Capabilities(
            tools=True,
            json_mode=True,
            strict_schema=True,
            vision=True,
            forced_tool_choice=True,
            caching="automatic",
        ),
        min_cache_tokens=0,
        price=PriceCard(input=output / 5, output=output),
        released="2026-01-01",
    )
    return msgspec.structs.replace(plain, **changes)


CARDS = (
    card("large", output=25.0),
    card("medium", output=5.0),
    card("small", output=0.5),
)


def encoder(*, seed: int = 0) -> StaticEncoder:
    """A table of random vectors for a few words and single letters."""
    words = ["[UNK]", *WORDS, *string.ascii_lowercase]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(seed).normal(size=(len(words), N_DIMENSIONS))
    return StaticEncoder.from_table(
        vectors, tokenizer.to_str(), name="words", dimension=N_DIMENSIONS
    )


def grown(n_columns: int, *, n_trees: int = 5, seed: int = 0) -> lightgbm.Booster:
    """A booster on random rows with missing values."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(300, n_columns))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    y = (np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, -1]) > 0).astype(float)
    options = {"objective": "cross_entropy", "num_leaves": 4, "seed": seed, "verbose": -1}
    options |= {"num_threads": 1, "min_data_in_leaf": 5}
    return lightgbm.train(options, lightgbm.Dataset(rows, y), num_boost_round=n_trees)


def joint_predictor(
    names: Sequence[str] = SEEN,
    *,
    n_features: int = SCHEMA.n,
    seed: int = 0,
    blend: Blend | None = None,
) -> JointPredictor:
    """Abilities as in ABILITIES (0.5 for others), small random weights for the rest."""
    rng = np.random.default_rng(seed)
    n, p = len(names), n_features + N_DIMENSIONS + N_MATCH
    traits = rng.normal(0.0, 0.3, (n, N_TRAITS))
    traits[:, 0] = [ABILITIES.get(name, 0.5) for name in names]
    space = ModelSpace(
        names=tuple(names),
        traits=traits,
        trait_mean=traits.mean(axis=0),
        trait_scale=np.ones(N_TRAITS),
        trait_coef=rng.normal(0.0, 0.05, (N_DESCRIPTORS, N_TRAITS)),
        descriptor_mean=np.zeros(N_DESCRIPTORS),
        descriptor_scale=np.full(N_DESCRIPTORS, 3.0),
        components=rng.normal(0.0, 0.1, (N_DESCRIPTORS, 1)),
    )
    return JointPredictor(
        n_features=n_features,
        scaler=ContextScaler(np.zeros(p), np.where(np.arange(p) < n_features, 100.0, 1.0)),
        space=space,
        adequacy=_head(rng, p, n, beta=np.array([1.0, 1.0, 0.0, 0.0])),
        log_heads={
            OUTPUT_TOKENS: LogHead(_head(rng, p, n, beta=_level(300.0)), 1.2, np.ones(n, bool)),
            LATENCY: LogHead(_head(rng, p, n, beta=_level(900.0)), 1.0, np.ones(n, bool)),
        },
        trees=Trees(
            grown(
                n_features + N_MATCH + N_TEXT + N_TRAITS + N_DESCRIPTORS, seed=seed
            ).model_to_string()
        ),
        text_components=rng.normal(size=(N_DIMENSIONS, N_TEXT)),
        blend=blend or Blend(1.0, 0.3),
        calibration=Calibration((-1.0, 0.0, 1.0), (-1.2, 0.1, 0.9)),
    )


def descriptor_rows(cards: Sequence[ModelCard] = CARDS) -> NDArray[np.float32]:
    return np.stack([describe(each) for each in cards])


def contexts(
    n: int, *, n_features: int = SCHEMA.n, seed: int = 0, missing: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random features, a share of them missing, and text vectors."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0.0, 100.0, (n, n_features)).astype(np.float32)
    features[rng.random(features.shape) < missing] = np.nan
    vectors = rng.normal(size=(n, N_DIMENSIONS + N_MATCH))
    return features, vectors.astype(np.float16).astype(np.float32)


def warm(tokens: Mapping[str, int]) -> SessionView:
    """A session whose models saw these prefixes a second ago."""
    prefixes = {name: Prefix(tokens=n, age_s=1.0, ttl_s=300) for name, n in tokens.items()}
    return SessionView(turn=1, prefixes=prefixes) if prefixes else NO_SESSION


def ask(text: str = "fix the test", **fields: object) -> Request:
    request = Request(messages=(Message("user", (Part("text", text),)),))
    return msgspec.structs.replace(request, **fields)


TOOL = ToolSpec(name="list_file", description="list all", schema=b'{"type":"object"}')


def catalog(cards: Sequence[ModelCard] = CARDS) -> Catalog:
    return catalog_of(cards, as_of="2026-11-23")


def router(
    cards: Sequence[ModelCard] = CARDS,
    *,
    predictor: JointPredictor | None = None,
    policy: CheapestAdequate | None = None,
    contracts: Sequence[Certified] = (),
    offsets: TenantOffsets | None = None,
    behaviour: Behaviour = NO_BEHAVIOUR,
    version: str = "by-hand",
) -> Router:
    text_encoder = encoder()
    return Router(
        predictor=predictor or joint_predictor(),
        encoder=text_encoder,
        catalog=catalog(cards),
        policy=policy or CheapestAdequate(),
        manifest=artifact.Manifest(
            format=artifact.ARTIFACT_FORMAT,
            version=version,
            created="2026-11-23T00:00:00+00:00",
            feature_schema=SCHEMA.hash,
            encoder=text_encoder.hash,
            policy={},
            metrics={},
            lineage={},
            files={},
        ),
        contracts=Contracts.of(contracts),
        offsets=offsets or TenantOffsets(),
        behaviour=behaviour,
    )


CATALOG_TOML = """as_of = "2026-11-23"

[models.small]
provider = "acme"
context_window = 100000
max_output_tokens = 8000
price = { input = 0.1, output = 0.5 }
capabilities = { tools = true }

[models.large]
provider = "acme"
context_window = 100000
max_output_tokens = 8000
price = { input = 5.0, output = 25.0 }
capabilities = { tools = true }
"""


def write_artifact(
    folder: Path,
    *,
    predictor: JointPredictor | None = None,
    feature_schema: str = SCHEMA.hash,
    policy: dict[str, float | int] | None = None,
) -> None:
    """A complete artifact of a predictor made by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    joint, text_encoder = predictor or joint_predictor(), encoder()
    save_predictor(joint, folder)
    text_encoder.save(folder)
    (folder / CATALOG_FILE).write_text(CATALOG_TOML)
    golden_contexts = [extract(ask()), extract(ask("why", tools=(TOOL,)))]
    write_golden(golden_of(joint, text_encoder, contexts=golden_contexts, cards=CARDS), folder)
    seal(folder, feature_schema=feature_schema, policy=policy)


def seal(
    folder: Path,
    *,
    feature_schema: str = SCHEMA.hash,
    policy: dict[str, float | int] | None = None,
    encoder_hash: str | None = None,
) -> None:
    """Write the manifest of whatever lies in the folder."""
    artifact.write_manifest(
        folder,
        created="2026-11-23T00:00:00+00:00",
        feature_schema=feature_schema,
        encoder=encoder_hash or encoder().hash,
        policy=policy or {},
        metrics={"brier_loss": 0.1},
        lineage={},
    )


def _level(value: float) -> Floats:
    return np.array([np.log(value), 0.2, 0.0, 0.0])


def _head(rng: np.random.Generator, p: int, n: int, *, beta: Floats) -> LinearHead:
    return LinearHead(
        shared=rng.normal(0.0, 0.02, (p, 1 + N_TRAITS + 1)),
        own=rng.normal(0.0, 0.02, (p, n)),
        beta=beta,
        offset=rng.normal(0.0, 0.05, n),
    )
