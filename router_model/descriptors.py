"""Numbers that describe a model, so that one never seen in a log still gets a sane estimate.

The same function serves training and serving: facts come from the card, size and family from
the card's id, and the two markers that only a logged name carries (effort, native function
calling) from `name`. What is not known is NaN, which LightGBM treats as a value of its own.
"""

import re
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from router_model.types import ModelCard

UNKNOWN_PROVIDER: Final = "unknown"
EPOCH: Final = date(2023, 1, 1)
# Prices are logarithms; a free model counts as a thousandth of a dollar per million tokens.
CHEAPEST_PRICE: Final = 1e-3

FAMILIES: Final = {
    "claude": r"claude",
    "gpt": r"gpt|davinci|\bo[134]\b",
    "gemini": r"gemini|gemma",
    "llama": r"llama|muse",
    "mistral": r"mi[sx]tral|codestral|devstral|magistral|ministral|pixtral",
    "qwen": r"qwen|qwq",
    "deepseek": r"deepseek",
    "grok": r"grok",
    "glm": r"\bglm",
    "kimi": r"kimi",
    "minimax": r"minimax",
}
DESCRIPTOR_NAMES: Final = (
    "log_input_price",
    "log_output_price",
    "log_cache_read_price",
    "log_context_window",
    "log_max_output",
    "release_years",
    "thinks",
    "effort",
    "open_weights",
    "log_params_b",
    "size_class",
    "native_tools",
    "has_tools",
    *(f"family_{name}" for name in FAMILIES),
)

_FAMILY_PATTERNS: Final = tuple(re.compile(pattern) for pattern in FAMILIES.values())
_THINKING: Final = re.compile(r"thinking|reasoner|reasoning|\bo[134]\b|\br1\b|qwq|magistral")
_EFFORTS: Final = {"minimal": 0.0, "low": 1.0, "medium": 2.0, "high": 3.0, "xhigh": 4.0, "max": 5.0}
_EFFORT: Final = re.compile(r"\b(minimal|low|medium|xhigh|high|max)[ -](?:reasoning|effort)\b")
_EFFORT_AFTER: Final = re.compile(
    r"\b(opus|sonnet|haiku|pro|flash)[ -](low|medium|high|xhigh)(?![a-z0-9-])"
)
_NATIVE_TOOLS: Final = re.compile(r"-fc(?:-any|-auto|-r)?$")
_EXPERTS: Final = re.compile(r"\b(\d+)x(\d+(?:\.\d+)?)b\b")
_PARAMS: Final = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bt])(?![a-z0-9])")
_SIZES: Final = {
    "nano": 0.0,
    **dict.fromkeys(("mini", "tiny", "lite"), 1.0),
    **dict.fromkeys(("small", "haiku", "flash", "instant", "fast", "air", "luna"), 2.0),
    **dict.fromkeys(("medium", "sonnet", "plus", "terra", "spark"), 3.0),
    **dict.fromkeys(("large", "pro", "sol"), 4.0),
    **dict.fromkeys(("max", "opus", "ultra", "astra", "argon", "fable"), 5.0),
}


def describe(card: ModelCard, *, name: str | None = None) -> NDArray[np.float32]:
    """The model's numbers in the order of `DESCRIPTOR_NAMES`.

    `name` is the model's name as a log has it, where that says more than the card's id.

    >>> card = ModelCard(id="mixtral-8x7b", provider="p", snapshot="s", family="f",
    ...                  context_window=32_000, max_output_tokens=4_000)
    >>> row = dict(zip(DESCRIPTOR_NAMES, describe(card).tolist(), strict=True))
    >>> round(row["log_params_b"], 3), row["family_mistral"], row["log_input_price"]
    (4.025, 1.0, nan)
    """
    known = card.provider != UNKNOWN_PROVIDER
    plain, marks = card.id.lower(), (name or card.id).lower()
    price = card.price
    cache_read = (
        None if price is None else (price.input if price.cache_read is None else price.cache_read)
    )
    values = (
        _log_price(None if price is None else price.input),
        _log_price(None if price is None else price.output),
        _log_price(cache_read),
        _log(card.context_window),
        _log(card.max_output_tokens),
        _years(card.released),
        _flag(card.capabilities.thinking, known=known) if not _THINKING.search(marks) else 1.0,
        effort(marks),
        _flag(card.open_weights, known=known),
        _log(parameters_b(plain)),
        size_class(plain),
        _native_tools(card, marks, known=known),
        _flag(card.capabilities.tools, known=known),
        *(float(bool(pattern.search(plain))) for pattern in _FAMILY_PATTERNS),
    )
    return np.array(values, dtype=np.float32)


def parameters_b(name: str) -> float:
    """The parameter count in billions that a name states; NaN where it states none.

    >>> parameters_b("mixtral-8x7b"), parameters_b("qwen3-235b-a22b"), parameters_b("gpt-4o")
    (56.0, 235.0, nan)
    """
    plain = name.lower()
    if experts := _EXPERTS.search(plain):
        return float(experts[1]) * float(experts[2])
    sizes = [float(n) * (1000.0 if unit == "t" else 1.0) for n, unit in _PARAMS.findall(plain)]
    return max(sizes, default=float("nan"))


def size_class(name: str) -> float:
    """The maker's size word from 0 (nano) to 5 (opus, max, ultra); NaN where there is none.

    >>> size_class("gemini-2.5-flash-lite"), size_class("claude-opus-4-6"), size_class("minimax-m2")
    (1.0, 5.0, nan)
    """
    words = re.findall(r"[a-z]+", _EFFORT_AFTER.sub(r"\1", name.lower()))
    return min((_SIZES[word] for word in words if word in _SIZES), default=float("nan"))


def effort(name: str) -> float:
    """The reasoning effort that a name states, 0 (minimal) to 5 (max); NaN where none.

    >>> effort("GPT-5 (2025-08-07) (medium reasoning)"), effort("gpt-5")
    (2.0, nan)
    """
    plain = name.lower()
    if found := _EFFORT.search(plain):
        return _EFFORTS[found[1]]
    after = _EFFORT_AFTER.search(plain)
    return _EFFORTS[after[2]] if after else float("nan")


def _native_tools(card: ModelCard, name: str, *, known: bool) -> float:
    """1 where calls go through the provider's own tool interface.

    The "-FC" mark is the convention of the Berkeley function-calling leaderboard; a name without
    it may or may not have been asked in prose. A catalog model is always called natively.
    """
    if _NATIVE_TOOLS.search(name):
        return 1.0
    is_history = not known or card.snapshot == ""
    return float("nan") if is_history else float(card.capabilities.tools)


def _flag(value: bool, *, known: bool) -> float:
    return 1.0 if value else (0.0 if known else float("nan"))


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else float("nan")


def _log_price(price: float | None) -> float:
    return float("nan") if price is None else float(np.log(max(price, CHEAPEST_PRICE)))


def _years(released: str | None) -> float:
    if released is None:
        return float("nan")
    return (date.fromisoformat(released) - EPOCH).days / 365.25
