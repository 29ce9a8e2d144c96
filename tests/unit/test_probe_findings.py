import pytest

from router_data.probe.asks import Answer
from router_data.probe.checks_answers import SCHEMA, problem_of
from router_data.probe.findings import Evidence, Finding, Result, combined
from router_data.probe.report import markdown, report_document, summary_line
from router_data.probe.runner import CHECKS, QUESTIONS, Checked, Run

ABOUT = {
    **{"model": "m", "base_url": "http://x/v1", "format": "openai", "at": "now"},
    **{"spent_usd": 0.5, "max_usd": 1.0, "n_calls": 3},
}
VALID = '{"severity": "sev-a", "affected_files": 1, "steps": []}'


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ((), "unknown"),
        (("pass", "pass"), "pass"),
        (("pass", "unknown"), "unknown"),
        (("unknown", "fail", "pass"), "fail"),
    ],
)
def test_a_whole_is_as_good_as_its_worst_part(parts: tuple[Result, ...], whole: Result) -> None:
    assert combined(parts) == whole


def test_a_note_decides_nothing() -> None:
    evidence = Evidence()
    evidence.passed("good")
    evidence.note("seen")
    assert evidence.finding() == Finding("pass", ("pass: good", "seen"))


@pytest.mark.parametrize(
    ("status", "problem", "result"),
    [
        (400, "HTTP 400", "fail"),
        (404, "HTTP 404", "fail"),
        (402, "HTTP 402", "unknown"),
        (429, "HTTP 429", "unknown"),
        (500, "HTTP 500", "unknown"),
        (0, "no end within 5 s", "unknown"),
    ],
)
def test_only_a_refusal_of_what_was_asked_tells_something(
    status: int, problem: str, result: str
) -> None:
    evidence = Evidence()
    assert evidence.broken(Answer(status=status, problem=problem), "x")
    assert evidence.finding().result == result


def test_a_schema_is_checked_in_full() -> None:
    assert problem_of(VALID, schema=SCHEMA) == ""
    for wrong in (
        VALID.replace("sev-a", "bad"),
        VALID.replace("1,", '"1",'),
        VALID.replace("[]", '[{"action": "a"}]'),
        VALID.replace("{", '{"more": 1, ', 1),
    ):
        assert problem_of(wrong, schema=SCHEMA).startswith("not of the schema")
    assert problem_of(f"```json\n{VALID}\n```", schema=SCHEMA) == "no JSON"
    assert problem_of("[]", schema=None) == "JSON, but no object: []"


def test_every_check_has_its_question() -> None:
    assert CHECKS.keys() == QUESTIONS.keys()


def test_what_is_left_is_not_run_and_keeps_the_order() -> None:
    half = Checked("cache", "not run", Finding("pass", ("seen",), {"min_cache_tokens": 5}))
    run = Run(("json", "cache", "seed"), [Checked("json", "pass", Finding("pass", ())), half])
    run.complete("budget: nothing is left")
    assert [(item.name, item.status) for item in run.checked] == [
        ("json", "pass"),
        ("cache", "not run"),
        ("seed", "not run"),
    ]
    assert run.checked[1].finding.evidence == ("seen", "not run: budget")
    assert run.facts() == {"min_cache_tokens": 5}
    assert not run.is_good
    assert run.stopped == "budget: nothing is left"


def test_a_finished_run_is_not_stopped_by_a_late_reason() -> None:
    run = Run(("json",), [Checked("json", "unknown", Finding("unknown", ()))])
    run.complete("interrupted")
    assert run.is_good
    assert run.stopped == ""


def test_what_an_endpoint_wrote_is_no_markup_in_the_report() -> None:
    evil = "fail: <script>alert(1)</script> | `x`\n# heading"
    run = Run(("json",), [Checked("json", "fail", Finding("fail", (evil,)))])
    text = markdown(report_document(run, about=ABOUT))
    assert "<script" not in text.replace(r"\<", "")
    assert "\n# heading" not in text
    assert "None." in text


def test_a_line_of_the_terminal_gives_the_reason() -> None:
    finding = Finding("fail", ("pass: fine", "fail: bad", "a note"))
    assert summary_line(Checked("json", "fail", finding)).split("fail")[1].strip() == "bad"
    passed = Finding("pass", ("pass: one", "pass: two"))
    assert summary_line(Checked("json", "pass", passed)).endswith("two")
