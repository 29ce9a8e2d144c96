"""Model names as logs and price lists write them, reduced to keys that can be compared."""

import re
from collections.abc import Mapping
from typing import Final

_DROPPED: Final = re.compile(r"\[[^\]]*\]|\([^)]*(?:reasoning|effort|submission|t=)[^)]*\)")
_FUNCTION_CALLING: Final = re.compile(r"-fc(?:-any|-auto)?$")
_SIZE_SLASH: Final = re.compile(r"(\d+b)/(a\d+b)")
_REGION: Final = re.compile(r"^(?:[a-z]+\.)+(?=[a-z])")
_POINT: Final = re.compile(r"(?<=\d)p(?=\d)")
_BEDROCK: Final = re.compile(r"(?<=\d{8})-v\d.*$")
_FULL_DATE: Final = re.compile(r"(20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")
_SHORT_DATE: Final = re.compile(r"^(?:2[3-9](?:0[1-9]|1[0-2])|(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01]))$")
_YEAR_MONTH: Final = re.compile(r"(?<!\d)(2[3-9])(0[1-9]|1[0-2])(?!\d)")
# "instant", "turbo" and "medium" are not here: they tell models apart.
_NOISE: Final = frozenset(
    {"instruct", "chat", "it", "hf", "preview", "latest", "exp", "beta", "free", "v", "model"}
    | {"fp", "bf", "awq", "tput", "versatile", "high", "low"}
)
_SIZE: Final = re.compile(r"\d+(?:x\d+)?b\b")
_MIN_OVERLAP: Final = 0.6


def plain_name(name: str) -> str:
    """The model's own name: no provider, run label, effort, tuning label or region.

    >>> plain_name("Claude 4.5 Opus (high reasoning)"), plain_name("meta-llama/Llama-3-8b:free")
    ('claude 4.5 opus', 'llama-3-8b')
    >>> plain_name("ft:gpt-4.1-2025-04-14:sierra:x"), plain_name("gpt-5.4 [ironforge]")
    ('gpt-4.1-2025-04-14', 'gpt-5.4')
    """
    text = _SIZE_SLASH.sub(r"\1-\2", _DROPPED.sub(" ", name.lower())).strip()
    text = text.rsplit("/", 1)[-1].removeprefix("ft:")
    head, _, tail = text.partition(":")
    text = f"{head}-{tail}" if re.fullmatch(r"\d+b", tail) else head
    if "_" in text and " " not in text:
        text = text.split("_", 1)[1]
    text = _POINT.sub(".", _BEDROCK.sub("", _REGION.sub("", text)))
    return _FUNCTION_CALLING.sub("", text.strip())


def date_in(name: str) -> str | None:
    """The snapshot date in a name as an ISO date; a "2407" becomes the first of that month.

    >>> date_in("claude-3-5-sonnet-20240620"), date_in("mistral-large-2407"), date_in("gpt-4o")
    ('2024-06-20', '2024-07-01', None)
    """
    plain = plain_name(name)
    if full := _FULL_DATE.search(plain):
        return f"{full[1]}-{full[2]}-{full[3]}"
    if month := _YEAR_MONTH.search(plain):
        return f"20{month[1]}-{month[2]}-01"
    return None


def keys(name: str) -> tuple[str, str, str]:
    """Three keys from strict to loose: all words; without a full date; without dates and noise.

    Words are sorted, so that "Claude 4.5 Opus" and "claude-opus-4-5" agree.

    >>> keys("Claude 4.5 Opus")[0] == keys("claude-opus-4-5")[0]
    True
    >>> keys("gpt-4-1106-preview")[2]
    '4 gpt'
    """
    plain = plain_name(name)
    undated = _FULL_DATE.sub(" ", plain)
    words = _words(undated)
    loose = [w for w in words if w not in _NOISE and not _SHORT_DATE.match(w)]
    return _key(_words(plain)), _key(words), _key(loose)


def closest(name: str, candidates: Mapping[str, str]) -> str | None:
    """The candidate whose words overlap most with those of `name` (Jaccard, at least 0.6).

    `candidates` maps loose keys to names. Both must share the first of the longest words, so that
    a number alone never makes a match, and must not state different parameter counts.
    """
    words = set(keys(name)[2].split())
    in_order = [word for word in _words(plain_name(name)) if word in words]
    family = max((word for word in in_order if word.isalpha()), key=len, default=None)
    sizes = _SIZE.findall(plain_name(name))
    best: tuple[float, int, str] | None = None
    for key, other in candidates.items():
        theirs = set(key.split())
        if family is None or family not in theirs or sizes != _SIZE.findall(plain_name(other)):
            continue
        overlap = len(words & theirs) / len(words | theirs)
        rank = (overlap, -len(other), other)
        if overlap >= _MIN_OVERLAP and (best is None or rank > best):
            best = rank
    return None if best is None else best[2]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+", text)


def _key(words: list[str]) -> str:
    return " ".join(sorted(words))
