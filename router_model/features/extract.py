"""Turns a request into its row of features; the only place that does, online and in batch.

The cost is linear in the number of messages and bounded in the length of each: texts are
sampled for the token estimate, and words, step type, errors and repetitions are read from
bounded slices (see the constants in `harness`, `results`, `trajectory` and `tools`).
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.features.clients import client_family
from router_model.features.conversation import (
    CONVERSATION_FEATURES,
    conversation_values,
    read_conversation,
)
from router_model.features.harness import (
    TEXT_HEAD,
    TEXT_TAIL,
    bounded,
    first_user_text,
    last_user_text,
)
from router_model.features.overlap import OVERLAP_FEATURES, overlap_values
from router_model.features.schema import Feature, build_schema
from router_model.features.steps import ends_with_result, step_type
from router_model.features.text import TEXT_FEATURES, text_facts
from router_model.features.tools import TOOL_FEATURES, ToolTexts, tool_facts
from router_model.features.trajectory import TRAJECTORY_FEATURES, trajectory_values
from router_model.types import Request, StepType

VERSION = 1

SCHEMA = build_schema(
    (
        *TOOL_FEATURES,
        *OVERLAP_FEATURES,
        Feature("clauses_per_tool", "ratio", "clauses of the text per offered tool"),
        *CONVERSATION_FEATURES,
        *TEXT_FEATURES,
        *(Feature(f"is_step_{step}", "flag", f"the step type is {step}") for step in StepType),
        *TRAJECTORY_FEATURES,
    ),
    version=VERSION,
)


class Context(Struct, frozen=True, kw_only=True):
    """What is known about a request before a model is chosen.

    `values` is the float32 row in the order of `SCHEMA`; `text` is the bounded text to embed,
    `tool_texts` what it is compared with; `family` the guessed client, "" if unknown.
    """

    values: NDArray[np.float32]
    text: str
    step_type: StepType
    input_tokens: int
    family: str
    tool_texts: ToolTexts = ToolTexts()


def extract(request: Request) -> Context:
    """The context of a request. Pure: equal requests give bit-equal values."""
    user = last_user_text(request.messages)
    text = bounded(user.text, head=TEXT_HEAD, tail=TEXT_TAIL)
    tools = tool_facts(request.tools)
    words = text_facts(text)
    conversation = read_conversation(
        request, user=user, first_text=first_user_text(request.messages)
    )
    total_tokens = conversation.total_tokens(request, tool_tokens=tools.tokens)
    is_result = ends_with_result(request.messages, user)
    step = step_type(request, user, last_part_is_result=is_result)
    values = (
        *tools.values,
        *overlap_values(tools, words),
        words.n_clauses / max(1, len(request.tools)),
        *conversation_values(
            request, conversation=conversation, user=user, total_tokens=total_tokens
        ),
        *words.values,
        *(step is other for other in StepType),
        *trajectory_values(request.messages, conversation=conversation, user_message=user.message),
    )
    return Context(
        values=np.array(values, dtype=np.float32),
        text=text,
        step_type=step,
        input_tokens=round(total_tokens),
        family=client_family(request),
        tool_texts=tools.texts,
    )
