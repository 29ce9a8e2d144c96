from itertools import pairwise

import pytest

from router_data.probe.tasks import DEPTHS, code_task, filler, needle_task
from router_model.tokens import estimate_tokens

MAKERS = (needle_task, code_task)


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_seed_gives_the_same_task(make: type) -> None:
    assert make(2000, seed=1) == make(2000, seed=1)
    assert make(2000, seed=1) != make(2000, seed=2)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n_tokens", [1000, 8000])
def test_a_task_has_about_the_wanted_length(make: type, n_tokens: int) -> None:
    assert estimate_tokens(make(n_tokens, seed=0).prompt) == pytest.approx(n_tokens, rel=0.25)


@pytest.mark.parametrize("make", MAKERS)
def test_each_answer_stands_once_in_the_prompt_and_in_order_of_depth(make: type) -> None:
    task = make(4000, seed=3)
    assert all(task.prompt.count(answer) == 1 for answer in task.answers)
    places = [task.prompt.index(answer) / len(task.prompt) for answer in task.answers]
    assert all(before < after for before, after in pairwise(places))
    for place, depth in zip(places, task.depths, strict=True):
        assert place == pytest.approx(depth, abs=0.06)


def test_needles_lie_from_the_first_line_to_the_last() -> None:
    assert needle_task(1000, seed=0).depths == DEPTHS == (0.0, 0.25, 0.5, 0.75, 1.0)


def test_an_answer_is_found_wherever_it_is_said() -> None:
    task = needle_task(1000, seed=0)
    assert task.found(f"They are {task.answers[1]}, and\n{task.answers[4]}.") == (
        *(False, True, False),
        *(False, True),
    )


def test_fillers_of_different_nonces_share_no_beginning() -> None:
    one, other = filler(500, seed=0, nonce="a"), filler(500, seed=0, nonce="b")
    assert one.split("\n")[0] != other.split("\n")[0]
