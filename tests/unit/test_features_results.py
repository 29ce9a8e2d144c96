import pytest

from router_model.features.kinds import ToolKind, command_kind, tool_kind
from router_model.features.results import count_tests, result_status

FAILURES: list[tuple[ToolKind, str]] = [
    ("shell", "Chunk ID: a1\nWall time: 0.1 seconds\nProcess exited with code 2\nOutput:\nno rule"),
    ("shell", '{\n  "returncode": 1,\n  "output": "boom"\n}'),
    ("shell", "<returncode>127</returncode>\n<output>\n</output>"),
    ("shell", "Exit code 1\nsomething went wrong"),
    ("shell", "bash: line 1: foo: command not found"),
    ("shell", "cat: missing.txt: No such file or directory"),
    ("shell", "Running\nTraceback (most recent call last):\n  File 'a.py'\nValueError: bad"),
    ("shell", "compiling\nerror[E0382]: borrow of moved value"),
    ("shell", "fatal: not a git repository"),
    ("edit", "Error: String to replace not found in file."),
    ("read", "Error: file does not exist"),
    ("read", "<tool_use_error>File has not been read yet</tool_use_error>"),
    ("read", "/tmp/a.py: No such file or directory"),
    ("other", "Error: User not found"),
    ("test", "E   assert 1 == 2\nAssertionError: no\nexit code: 1"),
]
SUCCESSES: list[tuple[ToolKind, str]] = [
    ("shell", "Process exited with code 0\nOutput:\nan error was found in the docs, and no more"),
    ("shell", '{"returncode": 0, "output": "ERROR: 0 lines"}'),
    ("shell", "<returncode>0</returncode>\n<output>\nTypeError: in the log we grepped\n</output>"),
    ("read", "def f():\n    raise ValueError('x')\n\nError: this is a fixture\nfatal: also"),
    ("search", "a.py:3:Traceback (most recent call last):\nb.py:9:ValueError: bad"),
    ("read", "import sys\nsys.exit(1)\n# exit code 3 means trouble" + "\n" * 90),
    ("shell", "total 24\n-rw-r--r-- 1 root root 19 errors.py"),
    ("shell", "All checks passed, 0 errors"),
    ("other", '{"status": "ok", "errors": []}'),
    ("web", "How to handle the error: a guide"),
]


@pytest.mark.parametrize(("kind", "text"), FAILURES)
def test_a_failure_is_recognised_without_a_flag(kind: ToolKind, text: str) -> None:
    assert result_status(text, kind=kind).is_error


@pytest.mark.parametrize(("kind", "text"), SUCCESSES)
def test_talk_about_errors_is_no_failure(kind: ToolKind, text: str) -> None:
    assert not result_status(text, kind=kind).is_error


def test_the_clients_own_flag_is_believed() -> None:
    assert result_status("fine", kind="other", is_error=True).is_error


def test_an_error_at_the_end_of_a_long_output_is_seen() -> None:
    text = "line\n" * 50_000 + "ValueError: bad"
    assert result_status(text, kind="shell").is_error


@pytest.mark.parametrize(
    "text",
    ["", "  \n", "(no output)", "No files found", '{"returncode": 0, "output": ""}',
     "<returncode>0</returncode>\n<output>\n</output>", "Process exited with code 0\nOutput:\n"],
)  # fmt: skip
def test_an_empty_output_is_recognised_in_several_wrappings(text: str) -> None:
    assert result_status(text, kind="shell").is_empty


def test_output_is_not_empty_when_there_is_some() -> None:
    assert not result_status("<returncode>0</returncode>\n<output>\n7\n</output>", kind="shell")[1]


def test_a_truncated_output_is_recognised_at_either_end() -> None:
    filler = "some line\n" * 500
    assert result_status(f"{filler}[output truncated]", kind="shell").is_truncated
    assert result_status(f"... 300 lines omitted\n{filler}", kind="shell").is_truncated
    assert not result_status(filler, kind="shell").is_truncated


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("=== 2 failed, 31 passed in 0.4s ===", (31, 2)),
        ("2 passed in 0.01s", (2, 0)),
        ("Ran 5 tests in 0.1s\n\nOK", (1, 0)),
        ("Ran 5 tests in 0.1s\n\nFAILED (failures=2)", (0, 2)),
        ("x\nFAILED", (0, 1)),
        ("test result: ok. 12 passed; 0 failed", (12, 0)),
        ("Tests: 3 failed, 9 passed", (9, 3)),
        ("def add(a, b): ...", (0, 0)),
    ],
)
def test_the_summary_of_a_test_runner_is_counted(text: str, counts: tuple[int, int]) -> None:
    assert count_tests(text) == counts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Bash", "shell"), ("run_terminal_cmd", "shell"), ("exec_command", "shell"),
        ("bash_20250124", "shell"), ("execute_command", "shell"),
        ("str_replace_based_edit_tool", "edit"), ("MultiEdit", "edit"), ("write_to_file", "edit"),
        ("Read", "read"), ("view_image", "read"), ("read_many_files", "read"),
        ("Grep", "search"), ("search_file_content", "search"), ("list_dir", "search"),
        ("web_search", "web"), ("WebFetch", "web"), ("google_web_search", "web"),
        ("TodoWrite", "task"), ("Task", "task"), ("update_plan", "task"),
        ("get_weather", "other"), ("book_reservation", "other"), ("search_hotels", "other"),
        ("update_order", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_a_tools_kind_is_told_from_its_name(name: str, kind: ToolKind) -> None:
    assert tool_kind(name) == kind


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("cat a.py", "read"), ("sed -n 1,20p a.py", "read"), ("cd /x && head a.py", "read"),
        ("grep -rn foo .", "search"), ("ls -la", "search"), ("find . -name x", "search"),
        ("sed -i 's/a/b/' a.py", "edit"), ("cat <<'EOF' > a.py\nx\nEOF", "edit"),
        ("echo x >> a.txt", "edit"), ("apply_patch <<X", "edit"),
        ("python3 -m pytest -q", "test"), ("npm run test", "test"), ("go test ./...", "test"),
        ("cargo build", "shell"), ("git status", "shell"), ("python a.py", "shell"),
    ],
)  # fmt: skip
def test_a_commands_kind_is_told_from_what_it_runs(command: str, kind: ToolKind) -> None:
    assert command_kind(command) == kind
