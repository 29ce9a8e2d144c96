"""Artifact folders, as training writes them and the service reads them."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from router_data.logged import LoggedDecisions
from router_data.rounds import Rounds
from router_model import features
from router_model.artifact import STARTER, verify, write_manifest
from router_model.behaviour import NO_BEHAVIOUR, save_behaviour
from router_model.contract import Certified, write_contracts
from router_model.economics import PRIOR, save_economics
from router_model.encoder import TABLE_FILE, StaticEncoder
from router_model.errors import ArtifactError, DatasetError
from router_model.golden import golden_of, write_golden
from router_model.persistence import load_predictor, save_predictor
from router_model.policy import CheapestAdequate
from router_model.signature import sign
from router_model.tenants import load_tenants, save_tenants
from router_training.certification import certify_contracts
from router_training.fit import FittedPredictor, fit_predictor
from router_training.gate import GateReport
from router_training.gate_run import judge
from router_training.goldens import golden_cards, golden_contexts
from router_training.held_out import HeldOut
from router_training.intervals import Resampling
from router_training.params import TrainingParams
from router_training.pipeline import Tools

CATALOG = "catalog.toml"
MODEL_CARD = "MODEL_CARD.md"


def tools(params: TrainingParams, state: Path) -> Tools[FittedPredictor]:
    """How the real predictor is fitted, written and read."""
    find = EncoderFinder(params, state)

    def write(predictor: FittedPredictor, folder: Path, about: Mapping[str, Any]) -> None:
        encoder = find(about["lineage"]["encoder_hash"])
        write_artifact(predictor, folder, encoder=encoder, about=about)

    def certify(
        predictor: FittedPredictor, test: Rounds, logged: LoggedDecisions | None
    ) -> tuple[Certified, ...]:
        return certify_contracts(predictor, test, logged, params=params)

    def judge_artifact(
        challenger: Path, champion: Path | None, champion_name: str, held_out: HeldOut
    ) -> GateReport:
        return judge(
            challenger,
            champion,
            held_out,
            load=load_artifact,
            champion_name=champion_name,
            resampling=Resampling(n_resamples=params.n_resamples, seed=params.seed),
        )

    return Tools(
        fit=fit_predictor,
        certify=certify,
        write=write,
        judge=judge_artifact,
        require_encoder=find,
    )


class EncoderFinder:
    """Finds the encoder that a log was embedded with, by its hash.

    Looks at the exported artifact, then at the shipped one, then at the encoder that the
    parameters name.
    """

    def __init__(self, params: TrainingParams, state: Path) -> None:
        self.params = params
        self.folders = (state / "artifact", STARTER)
        self._known: dict[str, StaticEncoder] = {}

    def __call__(self, encoder_hash: str) -> StaticEncoder:
        """The encoder with this hash; DatasetError when none of the places has it."""
        if encoder_hash not in self._known:
            for encoder in self._candidates():
                self._known[encoder.hash] = encoder
                if encoder.hash == encoder_hash:
                    break
        if encoder_hash not in self._known:
            raise DatasetError(
                f"encoder: the log was embedded with {encoder_hash}, but {self.params.encoder!r} "
                f"with {self.params.embedding_dim} dimensions and the artifacts at hand have "
                f"{', '.join(self._known)}; import the data again or set encoder, embedding_dim"
            )
        return self._known[encoder_hash]

    def _candidates(self) -> Iterator[StaticEncoder]:
        for folder in self.folders:
            if (folder / TABLE_FILE).is_file():
                yield StaticEncoder.load(folder)
        yield StaticEncoder.from_sentence_transformer(
            self.params.encoder, dimension=self.params.embedding_dim
        )


def write_artifact(
    predictor: FittedPredictor,
    folder: Path,
    *,
    encoder: StaticEncoder,
    about: Mapping[str, Any],
    policy: CheapestAdequate | None = None,
) -> None:
    """Fill an empty folder with a complete artifact.

    `about` holds `metrics`, `lineage`, `note`, `contracts`, what was certified, `behaviour` with
    `behaviour_note`, what was learned of the models beside adequacy, and `economics`, what of
    sessions.
    """
    metrics, lineage = about.get("metrics", {}), about.get("lineage", {})
    served = policy or CheapestAdequate()
    save_predictor(predictor.joint, folder)
    save_tenants(predictor.tenants, folder)
    encoder.save(folder)
    golden = golden_of(
        predictor.joint, encoder, contexts=golden_contexts(), cards=golden_cards(predictor.models)
    )
    write_golden(golden, folder)
    write_contracts(about.get("contracts", ()), folder)
    save_behaviour(about.get("behaviour", NO_BEHAVIOUR), folder)
    save_economics(about.get("economics", PRIOR), folder)
    (folder / CATALOG).write_bytes((files("router_data") / CATALOG).read_bytes())
    (folder / MODEL_CARD).write_text(model_card(predictor.models, about), encoding="utf-8")
    write_manifest(
        folder,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        feature_schema=features.SCHEMA.hash,
        encoder=encoder.hash,
        policy=msgspec.structs.asdict(served),
        metrics=metrics,
        lineage=lineage,
    )


def load_artifact(folder: Path) -> FittedPredictor:
    """The predictor of a verified artifact folder; ArtifactError when it can't be used here."""
    manifest = verify(folder)
    if manifest.feature_schema != features.SCHEMA.hash:
        raise ArtifactError(
            f"{folder}: got feature schema {manifest.feature_schema}, expected "
            f"{features.SCHEMA.hash}; train again"
        )
    joint = load_predictor(folder)
    return FittedPredictor(joint.space.names, joint, load_tenants(folder))


def check(folder: Path) -> None:
    """ArtifactError unless every file of the folder is what its manifest says."""
    verify(folder)


def checker(sign_key: Path | None) -> Callable[[Path], None]:
    """What a folder goes through before it is exported: checked, then signed if a key is given."""

    def checked(folder: Path) -> None:
        check(folder)
        if sign_key is not None:
            sign(folder, sign_key)

    return checked


def model_card(models: tuple[str, ...], about: Mapping[str, Any]) -> str:
    """What an artifact was trained on and how good it is, as Markdown."""
    lineage = "\n".join(f"- {name}: {value}" for name, value in about.get("lineage", {}).items())
    metrics = "\n".join(
        f"| {name} | {value:.4g} |" for name, value in sorted(about.get("metrics", {}).items())
    )
    return (
        "# Model card\n\nPredicts, for a request and a model, the probability of an adequate "
        "answer, its output tokens, tool-call latency and cost.\n\n"
        f"{about.get('note', '')}"
        f"## Trained on\n\n{lineage}\n\nModels with outcomes: {', '.join(models)}.\n\n"
        "## Measured on later requests it was not trained on\n\n"
        f"| metric | value |\n| --- | --- |\n{metrics}\n\n"
        f"{about.get('behaviour_note', '')}".rstrip()
        + "\n"
    )
