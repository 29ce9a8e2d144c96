"""The report of a probe, as JSON and as Markdown."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from router_data.probe.runner import QUESTIONS, Checked, Run
from router_model.errors import LogError

_COLUMNS = "| check | result | calls | input | cached | output | cost | seconds |"


def report_document(run: Run, *, about: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was found; `about` says of which endpoint, when and at what budget."""
    return {
        **about,
        "stopped": run.stopped or None,
        "checks": [
            {
                "check": item.name,
                "question": QUESTIONS[item.name],
                "result": item.status,
                "evidence": list(item.finding.evidence),
                "measures": dict(item.finding.measures),
                "facts": dict(item.finding.facts),
                "n_calls": item.n_calls,
                "input_tokens": item.input_tokens,
                "cached_tokens": item.cached_tokens,
                "output_tokens": item.output_tokens,
                "cost_usd": round(item.cost_usd, 6),
                "seconds": round(item.seconds, 2),
            }
            for item in run.checked
        ],
        "facts": run.facts(),
    }


def markdown(document: Mapping[str, Any]) -> str:
    """The same for reading."""
    lines = [
        f"# Probe of {document['model']}",
        "",
        f"{document['base_url']} ({document['format']}), {document['at']}, {document['n_calls']} "
        f"calls, ${document['spent_usd']:.4f} spent of ${document['max_usd']:.2f}.",
        "",
    ]
    if document["stopped"]:
        lines += [f"**Stopped early.** {document['stopped']}", ""]
    lines += [_COLUMNS, "| --- | --- " + "| ---: " * 6 + "|"]
    lines += [_row(check) for check in document["checks"]]
    for check in document["checks"]:
        lines += ["", f"## {check['check']}: {check['result']}", "", f"*{check['question']}*", ""]
        lines += [f"- {_plain(text)}" for text in check["evidence"]]
    lines += ["", "## Observed facts", ""]
    lines += [f"- `{path}` = `{value}`" for path, value in document["facts"].items()] or ["None."]
    return "\n".join(lines) + "\n"


def write_report(folder: Path, document: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write both files, named after the model; raises LogError where that can't be done."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(document["model"])).strip("-.") or "model"
    paths = folder / f"{name}.json", folder / f"{name}.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        paths[1].write_text(markdown(document), encoding="utf-8")
    except OSError as error:
        raise LogError(f"{folder}: can't write the report: {error}") from error
    return paths


def summary_line(item: Checked) -> str:
    """One check in one line of a terminal: its result and the evidence that decided it."""
    marked = f"{item.status}: "
    reasons = [text for text in item.finding.evidence if text.startswith(marked)]
    # What fails or can't be told says why; of what passed the last part tells most.
    is_passed = item.status == "pass" or not reasons
    reason = item.finding.evidence[-1] if is_passed else reasons[0]
    return f"{item.name:16} {item.status:8} {reason.removeprefix(marked)}"


def _row(check: Mapping[str, Any]) -> str:
    return (
        f"| {check['check']} | {check['result']} | {check['n_calls']} | {check['input_tokens']} | "
        f"{check['cached_tokens']} | {check['output_tokens']} | ${check['cost_usd']:.4f} | "
        f"{check['seconds']:.1f} |"
    )


def _plain(text: str) -> str:
    """What an endpoint wrote must not become markup."""
    return re.sub(r"([<>`|\[\]*_])", r"\\\1", " ".join(text.split()))
