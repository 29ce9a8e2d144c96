"""What a check found, and the terms on which checks run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from router_data.probe.asks import Answer, Tool

Result = Literal["pass", "fail", "unknown"]

READ_FILE: Final = Tool(
    "read_file",
    "Read one file of the repository.",
    {
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
        "additionalProperties": False,
    },
)
WRITE_FILE: Final = Tool(
    "write_file",
    "Write one file of the repository.",
    {
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["path", "content"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much the checks ask. `nonce` makes prompts of this run differ from those of any other.

    `context_window` and `min_cache_tokens` are what is declared, None where nothing is.
    `repeats` is how often each task of the long context is asked, with other contents each time.
    `max_slowdown` is how many times slower a median tool call may be under load.
    """

    nonce: str
    context_tokens: int = 32_000
    sessions: int = 10
    seed: int = 0
    repeats: int = 1
    max_slowdown: float = 3.0
    context_window: int | None = None
    min_cache_tokens: int | None = None
    usage_delay_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check with its evidence; `facts` are fields of a model's card by path.

    `measures` are numbers for the report. Facts hold only what was observed.
    """

    result: Result
    evidence: tuple[str, ...]
    facts: Mapping[str, bool | int | str] = field(default_factory=dict)
    measures: Mapping[str, float | int | None] = field(default_factory=dict)


@dataclass(slots=True)
class Evidence:
    """Collects what the parts of a check showed.

    >>> evidence = Evidence()
    >>> evidence.passed("a")
    >>> evidence.unknown("b")
    >>> evidence.finding().result
    'unknown'
    """

    parts: list[tuple[Result | None, str]] = field(default_factory=list)
    facts: dict[str, bool | int | str] = field(default_factory=dict)
    measures: dict[str, float | int | None] = field(default_factory=dict)

    def passed(self, text: str) -> None:
        """A part that is as it should be."""
        self.parts.append(("pass", text))

    def failed(self, text: str) -> None:
        """A part that is not."""
        self.parts.append(("fail", text))

    def unknown(self, text: str) -> None:
        """A part that can't be told."""
        self.parts.append(("unknown", text))

    def note(self, text: str) -> None:
        """Something seen that decides nothing."""
        self.parts.append((None, text))

    def judged(self, is_good: bool, good: str, bad: str) -> bool:
        """Passed or failed, with the text that applies; returns `is_good`."""
        if is_good:
            self.passed(good)
        else:
            self.failed(bad)
        return is_good

    def broken(self, answer: Answer, what: str) -> bool:
        """True where the answer is none; a refusal counts as failed, anything else as unknown."""
        if answer.is_ok:
            return False
        if answer.is_refused:
            self.failed(f"{what}: refused with HTTP {answer.status}: {answer.error_text}")
        else:
            self.unknown(f"{what}: {answer.problem} {answer.error_text}".rstrip())
        return True

    def short(self, answer: Answer, what: str) -> bool:
        """True where the limit on output cut the answer off: then it can't be judged."""
        is_short = answer.finish in ("length", "max_tokens")
        if is_short:
            self.unknown(f"{what}: cut off by the limit on output, raise --max-output-tokens")
        return is_short

    def finding(self) -> Finding:
        """Failed if any part failed, else unknown if any is, else passed."""
        return Finding(
            combined([result for result, _ in self.parts if result is not None]),
            tuple(text if result is None else f"{result}: {text}" for result, text in self.parts),
            dict(self.facts),
            dict(self.measures),
        )


def combined(results: Sequence[Result]) -> Result:
    """The result of a whole from those of its parts; unknown where there are none."""
    if "fail" in results:
        return "fail"
    return "unknown" if "unknown" in results or not results else "pass"
