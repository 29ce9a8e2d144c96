"""Scores of calls, and the rule that makes labels of them.

A score of the wanted name judges its call so:

1. a true or false one is a verdict (`adequate`);
2. with a threshold, a number is a verdict too: adequate from the threshold on;
3. without one, a number from 0 to 1 is a `reward`, which training compares with its own threshold;
4. a category is a verdict where the categories that pass are named.

Anything else is counted, and judges nothing. A score of a whole trace or session does not say
which call was right: it is the signal `session_succeeded`, which credit then shares out.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from router_data.imports.loose import first, name, number
from router_data.imports.naming import count_in

Judged = dict[str, Any]


class ScoreRule(Struct, frozen=True, kw_only=True):
    """Which scores count (`names`), and when they pass; see the module's docstring."""

    names: frozenset[str]
    threshold: float | None = None
    passing: frozenset[str] = frozenset()


def judged_by(score: Mapping[str, Any], rule: ScoreRule) -> Judged | None:
    """What a score says of its call, `adequate` or `reward`; None where it says nothing.

    >>> rule = ScoreRule(names=frozenset({"quality"}), threshold=4.0)
    >>> judged_by({"name": "quality", "value": 5}, rule)
    {'adequate': True}
    """
    if name(score.get("name")) not in rule.names:
        return None
    value = score.get("value")
    label = name(first(score, "string_value", "stringValue"))
    if label is not None and rule.passing:
        return {"adequate": label in rule.passing}
    kind = str(first(score, "data_type", "dataType") or "").upper()
    if isinstance(value, bool) or (kind == "BOOLEAN" and number(value) is not None):
        return {"adequate": bool(number(value) if not isinstance(value, bool) else value)}
    amount = number(value)
    if amount is None or kind == "CATEGORICAL":
        return None
    if rule.threshold is not None:
        return {"adequate": amount >= rule.threshold}
    return {"reward": amount} if 0.0 <= amount <= 1.0 else None


class Scores:
    """Scores by what they are of: only the wanted ones are kept, of several the last."""

    def __init__(self, rule: ScoreRule | None) -> None:
        self.rule = rule
        self.names: Counter[str] = Counter()
        self.n_used = 0
        self.n_unusable = 0
        self._of_calls: dict[str, Judged] = {}
        self._of_wholes: dict[str, bool] = {}

    def add(self, score: Mapping[str, Any]) -> None:
        """Take one score as Langfuse exports it."""
        count_in(self.names, str(score.get("name"))[:100])
        if self.rule is None or name(score.get("name")) not in self.rule.names:
            return
        judged = judged_by(score, self.rule)
        call = name(first(score, "observation_id", "observationId"))
        whole = name(first(score, "trace_id", "traceId", "session_id", "sessionId"))
        if judged is None or (call or whole) is None:
            self.n_unusable += 1
            return
        self.n_used += 1
        if call is not None:
            self._of_calls[call] = judged
        elif whole is not None:
            least = 0.5
            self._of_wholes[whole] = judged.get("adequate", judged.get("reward", 0.0) >= least)

    def of(self, *, call: str | None, trace: str | None, session: str | None) -> Judged:
        """What is known of a call: its own judgement, else its trace's or session's success."""
        if call is not None and call in self._of_calls:
            return self._of_calls[call]
        for whole in (trace, session):
            if whole is not None and whole in self._of_wholes:
                return {"signals": {"session_succeeded": self._of_wholes[whole]}, "session": whole}
        return {}
