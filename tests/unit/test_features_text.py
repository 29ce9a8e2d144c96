import pytest
from conversations import ask, user, values

from router_model.features.text import text_facts


def of(text: str) -> dict[str, float]:
    return values(ask(user(text)))


def test_the_form_of_a_text_is_counted() -> None:
    found = of("Fix the bug in src/calc.py and test_calc.py. Why is 12 not 13? See https://x.org")
    assert found["n_text_words"] == 20
    assert found["n_sentences"] == 2
    assert found["n_questions"] == found["n_urls"] == 1
    assert found["n_numbers"] == found["n_file_paths"] == 2
    assert found["non_ascii_share"] == 0


def test_words_are_counted_in_their_groups_with_repetitions() -> None:
    found = of("Fix the failing test, fix the other tests, then explain why")
    assert (found["words_fix"], found["words_test"], found["words_debug"]) == (2, 2, 1)
    assert found["words_explain"] == found["words_why"] == found["words_conjunction"] == 1


def test_list_items_and_joining_words_make_clauses() -> None:
    assert of("Do this:\n- add a\n- add b\n1. test\n2) ship")["n_list_items"] == 4
    assert of("One thing")["n_clauses"] == 1


@pytest.mark.parametrize(
    ("share", "text"),
    [
        ("prose_share", "Please look at the parser.\nIt is slow."),
        ("code_share", "def f(x):\n    y = x\n    return y"),
        ("code_share", "```\nanything at all\n```"),
        ("json_share", '{\n"a": 1,\n"b": [2]\n}'),
        ("diff_share", "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b"),
    ],
)
def test_lines_of_one_kind_give_a_share_near_one(share: str, text: str) -> None:
    assert of(text)[share] > 0.7


def test_a_stack_trace_is_told_from_the_prose_around_it() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 3, in f\nValueError: bad'
    found = of(f"It fails like this on every start of the server.\n{trace}")
    assert found["trace_share"] > 0.3
    assert found["prose_share"] > 0.3


def test_shares_of_line_kinds_add_up_to_one() -> None:
    found = of("Text.\n```py\nx = 1\n```\n{\n}\n    y = 2\n@@ -1 +1 @@\n+z")
    kinds = ("prose", "code", "json", "diff", "trace")
    assert abs(sum(found[f"{kind}_share"] for kind in kinds) - 1) < 1e-6


def test_lettered_options_make_a_multiple_choice() -> None:
    assert of("Which one?\nA. red\nB. green\nC. blue\nD. none")["is_multiple_choice"] == 1
    assert of("Which one?\n(A) red\n(B) green\n(C) blue")["is_multiple_choice"] == 1
    assert of("A. red is a colour. B. so is green.")["is_multiple_choice"] == 0


def test_mathematics_leaves_marks() -> None:
    assert of(r"Find $x^2$ with \frac{1}{2} ≤ x → ∞")["n_math_marks"] >= 6
    assert of("Find the file")["n_math_marks"] == 0


def test_text_beyond_ascii_is_measured_and_its_words_are_kept() -> None:
    found = of("Исправь ошибку в парсере")
    assert found["non_ascii_share"] > 0.8
    assert found["n_text_words"] == 4


def test_a_lone_surrogate_does_not_break_anything() -> None:
    assert text_facts("bad \ud800 char").values[0] == 2
    assert of("bad \ud800 char")["total_tokens"] > 0
