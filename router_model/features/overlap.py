"""How well the user's words point at one of the tools."""

from router_model.features.schema import Feature
from router_model.features.slots import SLOT_FEATURES, slot_values
from router_model.features.text import TextFacts
from router_model.features.tools import WEIGHT_UNITS, ToolFacts

OVERLAP_FEATURES = (
    Feature("overlap_best", "points", "weight of the user's words found in the best matching tool"),
    Feature("overlap_second", "points", "the same for the second best tool"),
    Feature("overlap_gap_share", "share", "(best - second) / best; 1 when only one tool matches"),
    Feature("best_tool_name_share", "share", "name words of the best tool that the user wrote"),
    Feature("n_tools_named", "count", "tools of whose name at least one word occurs in the text"),
    Feature("n_tools_with_parameters", "count", "tools of whose parameters one occurs in the text"),
    Feature("best_tool_n_required", "count", "required parameters of the best matching tool"),
    Feature("best_tool_n_properties", "count", "all parameters of the best matching tool"),
    Feature("best_tool_depth", "levels", "nesting of the best matching tool's parameters"),
    *SLOT_FEATURES,
)

_MAX_KEPT = 64


def overlap_values(facts: ToolFacts, text: TextFacts) -> tuple[float, ...]:
    """Values of `OVERLAP_FEATURES`, all zero without tools.

    Ties go to the tool that is offered first; sums are of integers, so the order of the words
    does not matter.
    """
    if not facts.shapes:
        return (0.0,) * len(OVERLAP_FEATURES)
    # An agent works on one instruction, with the same tools, for many calls.
    key = text.padded, text.n_numbers
    if (found := facts.overlaps.get(key)) is None:
        if len(facts.overlaps) >= _MAX_KEPT:
            facts.overlaps.clear()
        found = facts.overlaps[key] = _overlap(facts, text)
    return found


def _overlap(facts: ToolFacts, text: TextFacts) -> tuple[float, ...]:
    scores: dict[int, int] = {}
    named: dict[int, int] = {}
    with_parameters: set[int] = set()
    index = facts.index
    for word in text.distinct:
        if word in index:
            for tool, weight in index[word]:
                scores[tool] = scores.get(tool, 0) + weight
            for tool in facts.name_index.get(word, ()):
                named[tool] = named.get(tool, 0) + 1
            with_parameters.update(facts.parameter_index.get(word, ()))
    ranked = sorted((-score, tool) for tool, score in scores.items())[:2]
    best_score = -ranked[0][0] if ranked else 0
    best = ranked[0][1] if ranked else 0
    second = -ranked[1][0] if len(ranked) > 1 else 0
    shape = facts.shapes[best]
    return (
        best_score / WEIGHT_UNITS,
        second / WEIGHT_UNITS,
        (best_score - second) / best_score if best_score else 0.0,
        min(1.0, named.get(best, 0) / facts.n_name_words[best]),
        len(named),
        len(with_parameters),
        shape.n_top_required,
        len(shape.parameters),
        shape.depth,
        *slot_values(shape.slots, text),
    )
