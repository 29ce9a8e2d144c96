"""What the probe's test server answers: a model that reads its prompt by rule, and its faults."""

import json
import random
import re
from dataclasses import dataclass, field
from typing import Any

FAULTS = {
    "truncates": "errors",
    "unknown_model_answered": "errors",
    "vague_auth_error": "errors",
    "needle_lost": "context",
    "slow_under_load": "load",
    "error_under_load": "load",
    "hang_under_load": "load",
    "no_terminator": "streaming",
    "broken_arguments": "streaming",
    "cut_stream": "streaming",
    "hang_stream": "streaming",
    "no_stream_usage": "streaming",
    "double_billing": "retry",
    "no_cache": "cache",
    "seed_ignored": "seed",
    "invalid_json": "json",
    "schema_violated": "json",
    "one_tool_call": "parallel_tools",
    "forced_choice_ignored": "parallel_tools",
    "malformed_tool_use": "tool_round_trip",
    "wrong_finish": "tool_round_trip",
}
"""Each fault with the one check that has to find it."""

LOST_AFTER_CHARS = 10_000
_WORDS = "apple river stone cloud tower field brush plane horse table glass metal"
_NOUNS = _WORDS.split()


@dataclass(frozen=True)
class Seen:
    """A request in no dialect."""

    model: str
    system: str
    texts: tuple[str, ...]
    results: tuple[str, ...]
    tools: tuple[str, ...]
    choice: str
    stream: bool
    seed: int | None
    json_mode: bool
    schema: dict[str, Any] | None
    is_marked: bool | None

    @property
    def prompt(self) -> str:
        return "\n".join([self.system, *self.texts, *self.results])

    @property
    def n_tokens(self) -> int:
        return len(self.prompt) // 4 + 20 * len(self.tools) + 4


@dataclass(frozen=True)
class Said:
    text: str = ""
    calls: tuple[tuple[str, dict[str, str]], ...] = ()
    is_short: bool = False

    @property
    def n_tokens(self) -> int:
        return (len(self.text) + len(json.dumps(self.calls))) // 4 + 1


@dataclass
class Model:
    """Answers by rule; `rng` draws where no seed is given."""

    fault: str = ""
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def say(self, seen: Seen) -> Said:
        if seen.results:
            return Said(f"The word is {seen.results[-1]}.")
        calls = self._calls(seen)
        return Said(calls=calls) if calls else Said(self._text(seen))

    def _calls(self, seen: Seen) -> tuple[tuple[str, dict[str, str]], ...]:
        if not seen.tools:
            return ()
        last = seen.texts[-1]
        if seen.choice not in ("auto", "") and self.fault != "forced_choice_ignored":
            name = seen.tools[0] if seen.choice == "required" else seen.choice
            return ((name, {"path": "hello.txt"}),)
        if "Call write_file" in last:
            words = " ".join(["A parser reads text."] * 15)
            return (("write_file", {"path": "docs/notes.md", "content": words}),)
        if "read_file" not in last:
            return ()
        paths = re.findall(r"[\w/]+\.\w+", last)
        read = tuple(("read_file", {"path": path}) for path in paths)
        return read[:1] if self.fault == "one_tool_call" else read

    def _text(self, seen: Seen) -> str:
        last = seen.texts[-1]
        if seen.schema is not None:
            return self._of_schema()
        if seen.json_mode:
            return '{"severity": ' if self.fault == "invalid_json" else '{"severity": "low"}'
        if "random English nouns" in last:
            is_seeded = seen.seed is not None and self.fault != "seed_ignored"
            rng = random.Random(seen.seed) if is_seeded else self.rng
            return "\n".join(rng.sample(_NOUNS, len(_NOUNS)))
        if "numbers from 1 to 200" in last:
            return "\n".join(f"number {n}" for n in range(1, 201))
        return self._read(seen) or "ok"

    def _read(self, seen: Seen) -> str:
        prompt = seen.prompt
        if self.fault == "needle_lost":
            prompt = prompt[:LOST_AFTER_CHARS]
        wanted = seen.texts[-1].rsplit(": ", 1)[-1].rstrip(".").split(", ")
        codes = dict(re.findall(r"the code of the (\w+) is ([\w-]+)\.", prompt))
        codes |= dict(re.findall(r"def (\w+)\(.*\):\n(?:.*\n){2}    return .* \+ (\d+)", prompt))
        return "\n".join(codes.get(name, "not found") for name in wanted)

    def _of_schema(self) -> str:
        step = {"action": "look", "is_done": False}
        answer: dict[str, Any] = {"severity": "sev-a", "affected_files": 3, "steps": [step]}
        if self.fault == "schema_violated":
            answer["severity"] = "terrible"
        return json.dumps(answer)
