"""Are seeds honoured, and answers JSON of the wanted shape?"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from router_data.probe.asks import Ask, Turn
from router_data.probe.client import Client
from router_data.probe.findings import Evidence, Plan

N_ANSWERS: Final = 2
_DRAW: Final = "Write a list of twelve random English nouns, one a line, and nothing else."
# Asked for in prose: an endpoint that passes over the format answers in prose.
_REPORTS: Final = (
    "Say in one sentence how bad this is: the parser drops the last line of each file.",
    "Say in one sentence how bad this is: a button has the wrong shade of blue.",
)
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "severity": {"type": "string", "enum": ["sev-a", "sev-b", "sev-c"]},
        "affected_files": {"type": "integer"},
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"action": {"type": "string"}, "is_done": {"type": "boolean"}},
                "required": ["action", "is_done"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["severity", "affected_files", "steps"],
    "additionalProperties": False,
}


async def check_seed(client: Client, plan: Plan, evidence: Evidence) -> None:
    """The same seed twice and two others, at temperature 1."""
    if client.endpoint.dialect == "anthropic":
        evidence.unknown("the Messages format has no seed")
        return
    texts = []
    for seed in (11, 11, 12, 13):
        turns = (Turn(role="user", text=_DRAW),)
        answer = await client.call(Ask(turns=turns, seed=seed, temperature=1.0))
        if evidence.broken(answer, "a call with a seed"):
            if answer.is_refused:
                evidence.facts["capabilities.seed"] = False
            return
        texts.append(answer.text)
    if texts[0] != texts[1]:
        evidence.failed("the same seed gave two answers at temperature 1")
        evidence.facts["capabilities.seed"] = False
    elif texts[0] in texts[2:]:
        evidence.unknown("other seeds gave the same answer: whether seeds matter can't be told")
    else:
        evidence.passed("the same seed gave the same answer, two others gave others")
        evidence.facts["capabilities.seed"] = True


async def check_json(client: Client, plan: Plan, evidence: Evidence) -> None:
    """JSON mode and a strict schema, with prompts that lead away from both."""
    if client.endpoint.dialect == "anthropic":
        evidence.note("the Messages format has no JSON mode without a schema")
    else:
        asks = [_ask(f"{text} Answer in JSON.", wants_json=True) for text in _REPORTS]
        await _check_answers(client, evidence, asks, "json_mode")
    asks = [_ask(text, schema=SCHEMA) for text in _REPORTS]
    await _check_answers(client, evidence, asks, "strict_schema")


def _ask(text: str, *, wants_json: bool = False, schema: dict[str, Any] | None = None) -> Ask:
    return Ask(turns=(Turn(role="user", text=text),), wants_json=wants_json, schema=schema)


async def _check_answers(
    client: Client, evidence: Evidence, asks: list[Ask], capability: str
) -> None:
    problems = []
    for ask in asks:
        answer = await client.call(ask)
        if evidence.broken(answer, capability):
            if answer.is_refused:
                evidence.facts[f"capabilities.{capability}"] = False
            return
        if evidence.short(answer, capability):
            return
        problem = problem_of(answer.text, schema=ask.schema)
        problems += [problem] if problem else []
    good = f"{capability}: {len(asks)} of {len(asks)} answers are valid"
    bad = f"{capability}: {len(problems)} of {len(asks)} answers are not: {'; '.join(problems)}"
    evidence.facts[f"capabilities.{capability}"] = evidence.judged(not problems, good, bad)


def problem_of(text: str, *, schema: Mapping[str, Any] | None) -> str:
    """What is wrong with an answer that has to be a JSON object (of this schema); "" if nothing.

    >>> problem_of('{"a": 1}', schema=None)
    ''
    >>> problem_of("fine", schema=None)
    'no JSON'
    """
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return "no JSON"
    if not isinstance(value, dict):
        return f"JSON, but no object: {text[:40]}"
    if schema is None:
        return ""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(dict(schema)).iter_errors(value):
        return f"not of the schema: {error.message[:120]}"
    return ""
