import msgspec
import numpy as np
from routers import CARDS, card

from router_model.fallback import choose_strongest, no_prediction
from router_model.types import Candidate

NAN = float("nan")
ABILITIES = {"large": 1.0, "medium": 2.0, "small": 0.0}


def candidates(*names: str) -> dict[str, Candidate]:
    return {
        name: Candidate(
            model=name,
            p_adequate=NAN,
            expected_cost=0.01,
            input_tokens=10,
            cached_tokens=0,
            output_tokens=600.0,
            tool_call_latency_ms=NAN,
        )
        for name in names
    }


ALL = candidates("large", "medium", "small")


def test_the_highest_ability_is_taken_for_certain_and_the_others_follow() -> None:
    choice = choose_strongest(CARDS, ALL, abilities=ABILITIES, reason="trees: failed")
    assert [c.model for c in choice.ranked] == ["medium", "large", "small"]
    assert choice.distribution == {"medium": 1.0, "large": 0.0, "small": 0.0}


def test_the_reason_is_the_given_one() -> None:
    choice = choose_strongest(CARDS, ALL, abilities=ABILITIES, reason="trees: failed")
    assert choice.reason == "trees: failed"


def test_the_output_price_stands_for_strength_where_an_ability_is_unknown() -> None:
    broken = ABILITIES | {"small": NAN}
    choice = choose_strongest(CARDS, ALL, abilities=broken, reason="p")
    assert [c.model for c in choice.ranked] == ["large", "medium", "small"]


def test_an_inadmissible_models_unknown_ability_does_not_matter() -> None:
    choice = choose_strongest(CARDS[:2], ALL, abilities=ABILITIES | {"small": NAN}, reason="p")
    assert [c.model for c in choice.ranked] == ["medium", "large"]


def test_ties_go_to_the_name_whatever_the_order() -> None:
    cards = [card("b", output=1.0), card("a", output=1.0)]
    for order in (cards, cards[::-1]):
        for ability in (0.0, NAN):
            choice = choose_strongest(
                order, candidates("a", "b"), abilities={"a": ability, "b": ability}, reason="p"
            )
            assert choice.ranked[0].model == "a"


def test_a_model_without_a_price_counts_as_the_weakest() -> None:
    unpriced = msgspec.structs.replace(CARDS[0], price=None)
    choice = choose_strongest(
        [unpriced, CARDS[2]],
        ALL,
        abilities={"large": NAN, "small": NAN},
        reason="p",
    )
    assert choice.ranked[0].model == "small"


def test_no_prediction_says_nothing_of_any_model() -> None:
    nothing = no_prediction(3)
    for name in nothing.__struct_fields__:
        assert np.isnan(getattr(nothing, name)).tolist() == [True] * 3
