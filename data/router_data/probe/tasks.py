"""Tasks with known answers over prompts of a wanted length; the same seed gives the same task."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from router_model.tokens import estimate_tokens

DEPTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where needles lie, as shares of the prompt."""

_NOUNS: Final = (
    "parser cache socket ledger window branch packet lexer widget cursor thread buffer schema "
    "bundle kernel filter router signal bucket vector worker stream symbol cipher module client "
    "record policy header footer target source"
)
_WORDS: Final = tuple(_NOUNS.split())
_ACTS: Final = (
    "load merge split check write read apply reset parse build join scan drop move find count"
)
_VERBS: Final = tuple(_ACTS.split())


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt, and by question the answer that only its text gives.

    `depths` are those of the answers, as shares of the prompt.
    """

    prompt: str
    answers: tuple[str, ...]
    depths: tuple[float, ...]

    def found(self, text: str) -> tuple[bool, ...]:
        """Which answers a model's text holds."""
        return tuple(answer in text for answer in self.answers)


def needle_task(n_tokens: int, *, seed: int, nonce: str = "") -> Task:
    """Notes of about `n_tokens` with a code word at each depth, and the demand to list them."""
    rng = random.Random(f"needle {seed} {n_tokens}")
    codes = [f"{rng.choice(_WORDS)}-{rng.randrange(10_000, 99_999)}" for _ in DEPTHS]
    names = rng.sample(_WORDS, len(DEPTHS))
    lines = _filled(n_tokens, lambda: _note(rng))
    for depth, name, code in sorted(zip(DEPTHS, names, codes, strict=True), reverse=True):
        lines.insert(round(depth * len(lines)), f"Remember: the code of the {name} is {code}.")
    question = (
        "The notes above give the codes of some things. Answer with the codes of these, one a "
        f"line, and nothing else: {', '.join(names)}."
    )
    return Task("\n".join([nonce, *lines, "", question]).lstrip(), tuple(codes), DEPTHS)


def code_task(n_tokens: int, *, seed: int, nonce: str = "") -> Task:
    """Functions of about `n_tokens`, and questions what three of them return."""
    rng = random.Random(f"code {seed} {n_tokens}")
    seen: set[str] = set()
    functions = _filled(n_tokens, lambda: _function(rng, seen))
    positions = [round(depth * (len(functions) - 1)) for depth in (0.1, 0.5, 0.9)]
    names, answers = [], []
    for position in positions:
        name = functions[position].split("(")[0].removeprefix("def ")
        answer = str(rng.randrange(1_000_000, 9_999_999))
        functions[position] = _body(name, answer, rng)
        names.append(name)
        answers.append(answer)
    question = (
        "The module above defines many functions. Which number is added in each of these? "
        f"Answer with the numbers, one a line, and nothing else: {', '.join(names)}."
    )
    prompt = "\n".join([f"# {nonce}", *functions, "", question])
    depths = tuple(position / max(1, len(functions) - 1) for position in positions)
    return Task(prompt, tuple(answers), depths)


def filler(n_tokens: int, *, seed: int, nonce: str) -> str:
    """Notes of about `n_tokens` that nobody asks about; `nonce` makes their beginning unique."""
    rng = random.Random(f"filler {seed} {nonce}")
    return "\n".join([f"Notes {nonce}", *_filled(n_tokens, lambda: _note(rng))])


def _filled(n_tokens: int, make: Callable[[], str]) -> list[str]:
    lines: list[str] = []
    total = 0.0
    while total < n_tokens:
        lines.append(make())
        total += estimate_tokens(lines[-1]) + 1.0
    return lines


def _note(rng: random.Random) -> str:
    first, second, third = rng.sample(_WORDS, 3)
    return (
        f"The {first} has to {rng.choice(_VERBS)} the {second} before the {third} in step "
        f"{rng.randrange(1, 1000)}."
    )


def _function(rng: random.Random, seen: set[str]) -> str:
    while True:
        name = f"{rng.choice(_VERBS)}_{rng.choice(_WORDS)}_{rng.randrange(10_000)}"
        if name not in seen:
            seen.add(name)
            return _body(name, str(rng.randrange(1_000_000, 9_999_999)), rng)


def _body(name: str, number: str, rng: random.Random) -> str:
    first, second = rng.sample(_WORDS, 2)
    return (
        f"def {name}({first}, {second}):\n"
        f"    if {first} is None:\n        return {second}\n"
        f"    return {first} * {rng.randrange(2, 9)} + {number}\n"
    )
