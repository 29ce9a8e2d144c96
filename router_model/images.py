"""How many input tokens an image costs, by the rule of the provider that reads it.

An image is billed as input tokens, so what it costs is their number times the input price. The
rules, read in November 2026 from each provider's guide to vision, and checked against the usage
counts of ten sizes published in the Hugging Face data set JOHNISKING/image-token-cost for Claude
4.5 and 5.5, Gemini 3, GPT-5.5 and GPT-6. Fixed overheads of a few tokens per call are left out.

- Anthropic: one token per started patch of 28 by 28 pixels (about width · height / 750), after
  shrinking to a long edge of 1,568 pixels and 1,568 tokens; from Claude 5 on to 2,000 pixels, as
  measured (the guide to Opus 4.7 says 2,576), and 4,784 tokens.
- OpenAI, patches: 32 by 32 pixels times the model's multiplier, shrunk to a budget of patches and a
  long edge. GPT-5.5 and GPT-6 do not shrink to the "high" budget unless asked to.
- OpenAI, tiles (GPT-4o, 4.1, GPT-5, o-series): a base, and as much per tile of 512 pixels after
  fitting into 2,048 pixels and a short side of 768.
- Gemini: from 3 on a grid of the image's proportions with at most 1,120 cells; before, 258 tokens
  per tile, one tile up to 384 pixels.
- xAI: 256 tokens per tile of 448 pixels, at most six, and one more.
- Mistral: patches of 28 pixels after shrinking to 1,540, and one more per row (mistral-common).
"""

import math
import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from router_model.outline import Size
from router_model.tokens import IMAGE_TOKENS
from router_model.types import ModelCard

_MAX_SIDE: Final = 100_000


class _Patches(Struct, frozen=True):
    """OpenAI's patch rule: tokens per patch, most patches, longest edge in pixels (0: no limit)."""

    multiplier: float
    max_patches: int = 0
    max_edge: int = 0


class _Tiles(Struct, frozen=True):
    """OpenAI's tile rule: tokens of every image, and of each tile."""

    base: int
    tile: int


# The first pattern that a model's id begins with. GPT-5.4 is no part of the published table of
# multipliers; the one measured on GPT-5.5 is taken.
_OPENAI: Final[tuple[tuple[str, _Patches | _Tiles], ...]] = (
    ("gpt-(6|[7-9])", _Patches(1.2)),
    (r"gpt-5\.[5-9]", _Patches(1.2, 10_000, 6_000)),
    (r"gpt-(5(\.\d)?|4\.1)-mini", _Patches(1.62, 1_536, 2_048)),
    (r"gpt-(5(\.\d)?|4\.1)-nano", _Patches(2.46, 1_536, 2_048)),
    ("o4-mini", _Patches(1.72, 1_536, 2_048)),
    (r"gpt-5\.4", _Patches(1.2, 2_500, 2_048)),
    ("gpt-5", _Tiles(70, 140)),
    ("gpt-4o-mini", _Tiles(2_833, 5_667)),
    ("gpt-4", _Tiles(85, 170)),
    ("o[13]", _Tiles(75, 150)),
)
_OPENAI_NEWEST: Final = _Patches(1.2)
_CLAUDE_BEFORE_5: Final = re.compile(r"claude-(?:[a-z]+-4|[34]|3)(?![0-9])")
_GEMINI_BEFORE_3: Final = re.compile(r"gemini-[12](?:\.|-)")


def image_tokens(provider: str, width: int, height: int, *, model: str = "") -> int:
    """Input tokens of one image of `width` by `height` pixels.

    `model` is an id of the provider's; without one its newest rule holds. Where the size is not
    known (0) or the provider's rule is not, the usual `IMAGE_TOKENS`.

    >>> image_tokens("anthropic", 1_920, 1_080, model="claude-haiku-4-5")
    1560
    >>> image_tokens("openai", 1_024, 1_024, model="gpt-4o")
    765
    >>> image_tokens("google", 1_920, 1_080)
    1100
    """
    if width <= 0 or height <= 0:
        return IMAGE_TOKENS
    # A header can claim any size; no provider takes an image beyond this.
    width, height = min(width, _MAX_SIDE), min(height, _MAX_SIDE)
    name = model.lower()
    if provider == "anthropic":
        return _anthropic(width, height, name)
    if provider == "openai":
        return _openai(width, height, name)
    if provider == "google":
        return _google(width, height, name)
    if provider == "xai":
        return (min(6, math.ceil(width / 448) * math.ceil(height / 448)) + 1) * 256
    if provider == "mistral":
        width, height = _fitted(width, height, 1_540)
        return (math.ceil(width / 28) + 1) * math.ceil(height / 28)
    return IMAGE_TOKENS


def image_correction(sizes: Sequence[Size], card: ModelCard) -> int:
    """Tokens to add to a request's estimate for how this model counts images.

    The estimate counts `IMAGE_TOKENS` for each, whatever the model.
    """
    counted = (image_tokens(card.provider, *size, model=card.id) for size in sizes)
    return sum(counted) - IMAGE_TOKENS * len(sizes)


def _anthropic(width: int, height: int, model: str) -> int:
    edge, most = (1_568, 1_568) if _CLAUDE_BEFORE_5.match(model) else (2_000, 4_784)
    scale = min(1.0, edge / max(width, height))
    if _grid(width * scale, height * scale, 28) <= most:
        return _grid(width * scale, height * scale, 28)
    # The grid shrinks only where a side passes a multiple of the patch: take the largest that fits.
    sides = [28 * n / side for side in (width, height) for n in range(1, edge // 28 + 1)]
    fitting = (s for s in sorted(sides, reverse=True) if s <= scale)
    grids = (_grid(width * s, height * s, 28) for s in fitting)
    return next((grid for grid in grids if grid <= most), most)


def _openai(width: int, height: int, model: str) -> int:
    rule: _Patches | _Tiles = _OPENAI_NEWEST
    for pattern, found in _OPENAI:
        if re.match(pattern, model):
            rule = found
            break
    if isinstance(rule, _Tiles):
        width, height = _fitted(width, height, 2_048)
        scale = min(1.0, 768 / min(width, height))
        return rule.base + rule.tile * _grid(width * scale, height * scale, 512)
    return _ceil(_openai_patches(width, height, rule) * rule.multiplier)


def _openai_patches(width: int, height: int, rule: _Patches) -> int:
    """Patches after shrinking to the budget, so that one side is a whole number of patches."""
    scale = min(1.0, rule.max_edge / max(width, height)) if rule.max_edge else 1.0
    wide, high = width * scale, height * scale
    if not rule.max_patches or _grid(wide, high, 32) <= rule.max_patches:
        return _grid(wide, high, 32)
    shrink = math.sqrt(rule.max_patches * 32 * 32 / (wide * high))
    columns, rows = wide * shrink / 32, high * shrink / 32
    fit = min(max(1, math.floor(columns)) / columns, max(1, math.floor(rows)) / rows)
    return min(rule.max_patches, _ceil(columns * fit) * _ceil(rows * fit))


def _google(width: int, height: int, model: str) -> int:
    if not _GEMINI_BEFORE_3.match(model):
        columns = max(1, min(1_120, math.floor(math.sqrt(1_120 * width / height))))
        rows = max(1, min(1_120, math.floor(math.sqrt(1_120 * height / width))))
        return columns * rows
    if max(width, height) <= 384:
        return 258
    unit = min(768, max(256, math.floor(min(width, height) / 1.5)))
    return 258 * _grid(width, height, unit)


def _fitted(width: int, height: int, edge: int) -> tuple[int, int]:
    scale = min(1.0, edge / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _grid(width: float, height: float, side: int) -> int:
    return _ceil(width / side) * _ceil(height / side)


def _ceil(value: float) -> int:
    """The next whole number, at least 1; what is whole but for rounding stays."""
    return max(1, math.ceil(value - 1e-9))
