"""Reads what providers answer, and the signals of adequacy that an answer itself shows."""

from router_model.answers.answer import Answer, ToolCall
from router_model.answers.reading import AnswerStream, read_answer
from router_model.answers.signals import WIRE_SIGNALS, tool_calls_valid, wire_signals
from router_model.answers.steps import Steps

__all__ = [
    "WIRE_SIGNALS",
    "Answer",
    "AnswerStream",
    "Steps",
    "ToolCall",
    "read_answer",
    "tool_calls_valid",
    "wire_signals",
]
