"""Abilities of simulated models, seeded from published benchmark figures.

The figures only set the order and the distances: a simulated model is not the real one, and no
result of a simulation says anything about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router_model.catalog import load_catalog
from router_model.errors import DatasetError
from router_model.types import ModelCard

Floats = NDArray[np.float64]


class Published(NamedTuple):
    """Success rates that a maker published; NaN where it published none.

    `repository` is SWE-bench Verified (issues resolved), `dialogue` retail tasks of tau-bench or
    tau2-bench (tool calls in a dialogue).
    """

    repository: float
    dialogue: float = float("nan")


PUBLISHED: Final = {
    # OpenAI, gpt-oss model card (2025-08), high effort; tau-bench.
    "gpt-oss-120b": Published(0.624, 0.678),
    # Qwen, announcement of Qwen3-Max (2025-09); tau2-bench.
    "qwen3-max": Published(0.696, 0.748),
    # Moonshot AI, Kimi K2.5 model card (2026-01).
    "kimi-k2.5": Published(0.768),
    # Z.ai, GLM-5 model card (2026-02); tau2-bench.
    "glm-5": Published(0.778, 0.897),
    # Anthropic, announcements of 2025-10 and 2026-02; tau2-bench.
    "claude-haiku-4-5": Published(0.733, 0.832),
    "claude-sonnet-4-6": Published(0.796, 0.917),
    "claude-opus-4-6": Published(0.808, 0.919),
}
DEFAULT_MODELS: Final = (
    "gpt-oss-120b",
    "kimi-k2.5",
    "claude-haiku-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-6",
)
# A single step succeeds more often than a task of many steps, and live work differs between
# models more than a benchmark near its ceiling shows: so levels are set, and distances widened.
WORK_LEVEL: Final = 1.6
TOOL_LEVEL: Final = 1.9
SIDE_LEVEL: Final = 3.0
_REPOSITORY = (0.75, 2.0)
_DIALOGUE = (0.80, 1.2)
_SIDE_SHARE = 0.1
_RELIABILITY = (3.2, 0.9)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What each model can do, in log-odds of an adequate step of medium difficulty.

    `work` is for a user's own turn, `tools` for going on after a tool's result, `side` for
    titles, summaries and the like; `valid_tool_call` is the probability of a valid tool call;
    `long_context` is the loss of log-odds with each doubling of the prefix above 20k tokens.
    """

    cards: tuple[ModelCard, ...]
    work: Floats
    tools: Floats
    side: Floats
    valid_tool_call: Floats
    long_context: Floats


def abilities_of(models: Sequence[str]) -> Abilities:
    """The abilities of catalog models that have published figures; others are refused.

    >>> weak, strong = abilities_of(("gpt-oss-120b", "claude-opus-4-6")).work
    >>> bool(weak < strong)
    True
    """
    unknown = [name for name in models if name not in PUBLISHED]
    if unknown or not models or len(set(models)) < len(models):
        raise DatasetError(
            f"models: got {', '.join(models) or 'none'}, expected different ones of "
            f"{', '.join(PUBLISHED)}"
        )
    catalog = shipped_cards()
    cards = tuple(catalog[name] for name in models)
    figures = [PUBLISHED[name] for name in models]
    repository = np.array([figure.repository for figure in figures])
    dialogue = np.array([figure.dialogue for figure in figures])
    dialogue = np.where(np.isnan(dialogue), repository, dialogue)
    work = WORK_LEVEL + _widened(repository, _REPOSITORY)
    tools = TOOL_LEVEL + _widened(dialogue, _DIALOGUE)
    level, slope = _RELIABILITY
    windows = np.array([card.context_window for card in cards], dtype=np.float64)
    return Abilities(
        cards=cards,
        work=work,
        tools=tools,
        side=SIDE_LEVEL + _SIDE_SHARE * (work - WORK_LEVEL),
        valid_tool_call=sigmoid(level + slope * (tools - TOOL_LEVEL)),
        long_context=0.2 * np.log(np.maximum(1e6 / windows, 1.0)),
    )


@lru_cache(maxsize=1)
def shipped_cards() -> dict[str, ModelCard]:
    """The models of the shipped catalog by id."""
    with resources.as_file(resources.files("router_data") / "catalog.toml") as path:
        return dict(load_catalog(Path(path)).models)


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + e^-x), element by element.

    >>> sigmoid(np.array([0.0]))
    array([0.5])
    """
    result: Floats = 1.0 / (1.0 + np.exp(-values))
    return result


def _widened(rate: Floats, centre_and_slope: tuple[float, float]) -> Floats:
    centre, slope = centre_and_slope
    result: Floats = slope * (np.log(rate / (1.0 - rate)) - np.log(centre / (1.0 - centre)))
    return result
