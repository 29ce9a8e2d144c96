from conversations import SHELL_TOOLS, ask, assistant, bash, call, result, user, values

from router_model.features.trajectory import WINDOW
from router_model.types import Message, Part


def run(*turns: tuple[str, str]) -> dict[str, float]:
    return values(ask(user("Fix it."), *bash(*turns), tools=SHELL_TOOLS))


def test_without_tool_calls_every_trajectory_feature_is_zero() -> None:
    found = values(ask(user("Fix it."), tools=SHELL_TOOLS))
    assert found["n_tool_calls"] == found["is_last_shell"] == found["last_result_tokens"] == 0


def test_errors_are_counted_in_total_recently_and_in_a_row() -> None:
    bad, good = "bash: x: command not found", "fine"
    found = run(("a", bad), ("b", good), ("c", good), ("d", good), ("e", bad), ("f", bad))
    assert found["n_tool_errors"] == 3
    assert found["n_errors_last_4"] == found["n_errors_in_a_row"] == 2
    assert found["tool_error_share"] == 0.5
    assert found["is_last_error"] == 1


def test_identical_calls_are_counted_and_the_last_one_is_marked() -> None:
    found = run(("make", "x"), ("ls", "y"), ("make", "x"))
    assert (found["n_identical_calls"], found["is_last_call_repeated"]) == (2, 1)
    assert run(("make", "x"), ("ls", "y"))["is_last_call_repeated"] == 0


def test_kinds_of_calls_are_counted_also_inside_shell_commands() -> None:
    found = run(("cat a.py", "x"), ("grep -n x a.py", "1"), ("sed -i s/a/b/ a.py", ""),
                ("pytest -q", "1 failed, 3 passed"), ("python a.py", "7"))  # fmt: skip
    kinds = ("read", "search", "edit", "test", "shell", "other")
    assert [found[f"n_{kind}_calls"] for kind in kinds] == [1, 1, 1, 1, 1, 0]
    assert found["n_calls_since_edit"] == 2
    assert found["is_last_shell"] == 1


def test_repeated_edits_of_one_file_are_counted_over_tools_and_commands() -> None:
    messages = (
        user("Fix it."),
        call("edit", "a", path="src/a.py", text="1"),
        result("ok", "a"),
        call("edit", "b", path="src/b.py", text="2"),
        result("ok", "b"),
        call("bash", "c", command="sed -i s/1/2/ src/a.py"),
        result("", "c"),
    )
    found = values(ask(*messages, tools=SHELL_TOOLS))
    assert found["n_edits_of_one_file"] == 2
    assert found["n_same_tool_in_a_row"] == 1


def test_the_last_result_tells_its_tests_its_emptiness_and_its_size() -> None:
    found = run(("pytest", "2 failed, 5 passed"))
    assert (found["n_last_tests_passed"], found["n_last_tests_failed"]) == (5, 2)
    assert run(("touch a", ""))["is_last_empty"] == 1
    long = run(("cat a", "word " * 4_000))
    assert 3_000 < long["last_result_tokens"] < 5_000
    assert long["tool_result_share"] > 0.9


def test_calls_since_the_last_real_user_text_leave_out_earlier_ones() -> None:
    messages = (user("Fix it."), *bash(("a", "1"), ("b", "2")), user("Now test."), *bash(("c", "")))
    found = values(ask(*messages, tools=SHELL_TOOLS))
    assert (found["n_tool_calls"], found["n_calls_since_user"]) == (3, 1)


def test_parallel_calls_are_one_turn_and_matched_by_their_ids() -> None:
    parts = [Part("tool_call", "{}", tool_name="read", call_id=str(i)) for i in range(3)]
    results = [Part("tool_result", "ok", call_id=str(i)) for i in (2, 0)]
    failed = Part("tool_result", "Error: gone", call_id="1")
    request = ask(
        user("Go."), Message("assistant", tuple(parts)), Message("tool", (failed, *results))
    )
    found = values(request)
    assert found["n_parallel_turns"] == 1
    assert found["n_tool_errors"] == 1
    assert found["is_last_error"] == 0


def test_results_without_ids_belong_to_the_calls_in_order() -> None:
    messages = (user("Go."), call("read", path="a"), result("ok"), call("read", path="b"),
                result("Error: gone"))  # fmt: skip
    assert values(ask(*messages))["is_last_error"] == 1


def test_shell_blocks_answered_in_the_user_role_count_as_calls() -> None:
    messages = (
        user("Fix it."),
        assistant("Look.\n```bash\ncat a.py\n```"),
        user("<returncode>0</returncode>\n<output>\nx\n</output>"),
        assistant("Edit.\n```bash\nsed -i s/x/y/ a.py\n```"),
        user("<returncode>1</returncode>\n<output>\nsed: no\n</output>"),
    )
    found = values(ask(*messages))
    assert (found["n_tool_calls"], found["n_read_calls"], found["n_edit_calls"]) == (2, 1, 1)
    assert found["is_last_error"] == found["is_step_tool_result"] == 1


def test_counts_cover_a_window_and_the_number_of_calls_covers_all() -> None:
    found = run(*((f"step {i}", "bash: x: command not found") for i in range(WINDOW + 25)))
    assert found["n_tool_calls"] == WINDOW + 25
    assert found["n_tool_errors"] == WINDOW
