"""What is learned of each model's behaviour beyond adequacy.

The file `behaviour.json` of an artifact, absent where nothing was learned, holds for each model

- quantiles of the time to its first complete tool call (Koenker and Bassett, 1978),

      log t_q = a_mq + s_q . x,   x = (log(1 + input tokens), share of them cached,
                                       log(1 + expected output tokens), log(1 + load)),

  with slopes shared by all models and x kept within what was seen, for nothing is known beyond;
- the prefix from which on it answers worse, where the log shows one below the declared window;
- P(its tool calls fit their schemas) = sigmoid(v_m + u complexity), u <= 0 shared by all models;
- how often it calls several tools at once, and streams a call in chunks.

A model that is not listed behaves as its card declares; its latency is NaN. The slopes say
nothing of its speed: models differ by far more than requests do.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import numpy as np
from msgspec import Struct, field, structs

from router_model.cards import ModelCard
from router_model.errors import ArtifactError
from router_model.heads import Floats, plain_name
from router_model.learned_file import read_learned
from router_model.schema_complexity import schema_complexities as schema_complexities
from router_model.schema_complexity import schema_complexity as schema_complexity

BEHAVIOUR_FILE: Final = "behaviour.json"
BEHAVIOUR_VERSION: Final = 1
LATENCY_TERMS: Final = ("input_tokens", "cached_share", "output_tokens", "load")
LOAD_SECONDS: Final = 60
"""Load is the number of calls sent to a model in this long before a call."""

Quantiles = tuple[Floats, Floats]
Named = TypeVar("Named")
# exp(25) ms are two years; a coefficient beyond was not written by training.
_LARGEST: Final = 25.0


class ModelLatency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Intercepts (log ms) of one model's median and 95th percentile; `n` calls behind them."""

    p50: float
    p95: float
    n: int


class Latency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Slopes by `LATENCY_TERMS`, shared by all models, and what range of x they were fitted on."""

    p50: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    p95: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    low: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    high: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    models: Mapping[str, ModelLatency] = field(default_factory=dict)


class ModelWindow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The longest prefix (tokens, as estimated) at which a model still answers as on short ones.

    Beyond it, P(adequate) is lower by `loss`, of which `bound` is the lower confidence bound;
    `n` outcomes lie beyond.
    """

    tokens: int
    loss: float
    bound: float
    n: int


class ModelValidity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log-odds of one model's valid calls at complexity 0, and the complexity it mostly met."""

    intercept: float
    mean_complexity: float
    n: int


class Validity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log-odds that one unit of complexity adds, at most 0, and each model's intercept."""

    slope: float = 0.0
    models: Mapping[str, ModelValidity] = field(default_factory=dict)


class LearnedFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `n` answers with tool calls: the shares with several calls, and with calls in chunks.

    `chunked_share` is None where no answer told how it was streamed.
    """

    parallel_share: float
    chunked_share: float | None
    n: int


class Behaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that was learned, by model."""

    version: int = BEHAVIOUR_VERSION
    latency: Latency = Latency()
    windows: Mapping[str, ModelWindow] = field(default_factory=dict)
    validity: Validity = Validity()
    facts: Mapping[str, LearnedFacts] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "Behaviour":
        """That of an artifact folder, `NO_BEHAVIOUR` without a file; ArtifactError if bad."""
        found = read_learned(folder / BEHAVIOUR_FILE, cls)
        return NO_BEHAVIOUR if found is None else found.by_plain_names()

    def by_plain_names(self) -> "Behaviour":
        """The same, its models also found without regard to case and "provider/"."""
        return structs.replace(
            self,
            latency=structs.replace(self.latency, models=_plain(self.latency.models)),
            windows=_plain(self.windows),
            validity=structs.replace(self.validity, models=_plain(self.validity.models)),
            facts=_plain(self.facts),
        )

    def latencies(
        self,
        models: Sequence[str],
        *,
        input_tokens: Floats | float,
        output_tokens: Floats | float,
        load: Sequence[float] | Floats | float,
        cached_tokens: Floats | float = 0.0,
    ) -> Quantiles:
        """(p50, p95) in ms to the first complete tool call, each (n_models,); NaN if unknown.

        `output_tokens` are expected, `load` counts calls sent to each model in the last
        `LOAD_SECONDS`; what is given as one number holds for every model. The 95th percentile is
        never below the median.

        >>> one = Latency(p50=(1.0, 0, 0, 0), p95=(1.0, 0, 0, 0), high=(9.0, 1.0, 9.0, 9.0),
        ...               models={"m": ModelLatency(p50=0.0, p95=1.0, n=9)})
        >>> p50, p95 = Behaviour(latency=one).latencies(
        ...     ["m", "other"], input_tokens=99, output_tokens=1, load=0)
        >>> p50.round(1), p95.round(1)
        (array([100.,  nan]), array([271.8,   nan]))
        """
        latency = self.latency
        if not latency.models:
            return np.full(len(models), np.nan), np.full(len(models), np.nan)
        known = [found_for(latency.models, name) for name in models]
        level = np.array([(m.p50, m.p95) if m else (np.nan, np.nan) for m in known], np.float64)
        terms = latency_terms(
            np.broadcast_to(input_tokens, len(known)),
            np.broadcast_to(cached_tokens, len(known)),
            np.broadcast_to(output_tokens, len(known)),
            np.broadcast_to(load, len(known)),
        )
        terms = np.clip(terms, latency.low, latency.high)
        log_ms = level.reshape(-1, 2) + terms @ np.array((latency.p50, latency.p95)).T
        p50 = np.exp(log_ms[:, 0])
        return p50, np.maximum(np.exp(log_ms[:, 1]), p50)

    def effective_window(self, card: ModelCard) -> int:
        """Tokens up to which a model answers as on short prefixes; at most the card's window."""
        found = found_for(self.windows, card.id)
        return card.context_window if found is None else min(found.tokens, card.context_window)

    def p_valid(self, models: Sequence[str], complexity: float) -> Floats:
        """P(tool calls fit their schemas), shape (n_models,); 1 where nothing is known."""
        return self._valid(models, complexity)[0]

    def validity_factor(self, models: Sequence[str], complexity: float) -> Floats:
        """Factor of P(adequate) for a request that offers tools, shape (n_models,), at most 1.

        P(valid) at this complexity over that at the complexity the model mostly met: what it
        mostly met is already in its P(adequate), which was learned from the same answers. It is
        capped at 1: simple schemas don't make an answer better than it was learned to be.

        >>> one = Validity(slope=-0.5, models={
        ...     "m": ModelValidity(intercept=4.0, mean_complexity=4.0, n=50)})
        >>> Behaviour(validity=one).validity_factor(["m", "other"], 8.0).round(3)
        array([0.568, 1.   ])
        >>> Behaviour(validity=one).validity_factor(["m"], 1.0)
        array([1.])
        """
        here, usual = self._valid(models, complexity)
        factor: Floats = np.minimum(here / usual, 1.0)
        return factor

    def facts_of(self, model: str) -> LearnedFacts | None:
        """What its answers showed; None for a model without tool calls in the log."""
        return found_for(self.facts, model)

    def _valid(self, models: Sequence[str], complexity: float) -> Quantiles:
        if not self.validity.models:
            return np.ones(len(models)), np.ones(len(models))
        known = [found_for(self.validity.models, name) for name in models]
        level = np.array([m.intercept if m else np.inf for m in known], np.float64)
        usual = np.array([m.mean_complexity if m else 0.0 for m in known], np.float64)
        slope = self.validity.slope
        return _sigmoid(level + slope * complexity), _sigmoid(level + slope * usual)

    def check(self) -> None:
        """ArtifactError naming the field unless everything is in range."""
        if self.version != BEHAVIOUR_VERSION:
            raise ArtifactError(f"version: got {self.version}, expected {BEHAVIOUR_VERSION}")
        _check_latency(self.latency)
        for name, window in self.windows.items():
            _in_range(f"windows[{name!r}].tokens", window.tokens, 1, 1e12)
            _in_range(f"windows[{name!r}].loss", window.loss, -1.0, 1.0)
        _in_range("validity.slope", self.validity.slope, -_LARGEST, 0.0)
        for name, valid in self.validity.models.items():
            _in_range(f"validity[{name!r}].intercept", valid.intercept, -_LARGEST, _LARGEST)
            _in_range(f"validity[{name!r}].mean_complexity", valid.mean_complexity, 0.0, 1e3)
        for name, facts in self.facts.items():
            _in_range(f"facts[{name!r}].parallel_share", facts.parallel_share, 0.0, 1.0)
            _in_range(f"facts[{name!r}].chunked_share", facts.chunked_share or 0.0, 0.0, 1.0)


NO_BEHAVIOUR: Final = Behaviour()
"""Nothing was learned: cards are believed, latencies are NaN, calls valid."""


def save_behaviour(behaviour: Behaviour, folder: Path) -> None:
    """Write it into an existing folder; no file where nothing was learned."""
    if behaviour != NO_BEHAVIOUR:
        encoded = msgspec.json.format(msgspec.json.encode(behaviour), indent=1)
        (folder / BEHAVIOUR_FILE).write_bytes(encoded + b"\n")


def latency_terms(
    input_tokens: Floats, cached_tokens: Floats, output_tokens: Floats, load: Floats
) -> Floats:
    """The terms x of calls, shape (n, 4), in the order of `LATENCY_TERMS`."""
    share = np.clip(cached_tokens / np.maximum(input_tokens, 1.0), 0.0, 1.0)
    return np.column_stack([np.log1p(input_tokens), share, np.log1p(output_tokens), np.log1p(load)])


def found_for(known: Mapping[str, Named], model: str) -> Named | None:
    """What is known of a model by its exact name, else by its plain one."""
    found = known.get(model)
    return known.get(plain_name(model)) if found is None else found


def _plain(known: Mapping[str, Named]) -> Mapping[str, Named]:
    return {**{plain_name(name): value for name, value in known.items()}, **known}


def _sigmoid(log_odds: Floats) -> Floats:
    p: Floats = 1.0 / (1.0 + np.exp(-log_odds))
    return p


def _check_latency(latency: Latency) -> None:
    for name in ("p50", "p95", "low", "high"):
        values = getattr(latency, name)
        if len(values) != len(LATENCY_TERMS):
            raise ArtifactError(
                f"latency.{name}: got {len(values)} numbers, expected {len(LATENCY_TERMS)}"
            )
        for value in values:
            _in_range(f"latency.{name}", value, -_LARGEST, _LARGEST)
    for name, model in latency.models.items():
        for quantile in ("p50", "p95"):
            level = getattr(model, quantile)
            _in_range(f"latency[{name!r}].{quantile}", level, -_LARGEST, _LARGEST)


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not (isfinite(value) and low <= value <= high):
        raise ArtifactError(f"{name}: got {value}, expected {low:g} to {high:g}")
