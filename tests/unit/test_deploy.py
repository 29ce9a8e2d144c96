"""What lies in serving/deploy fits the service: names of metrics, files, options, pins."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # ships no types
from paths import REPO
from prometheus_client.registry import Collector

from router_serving.running import running
from router_serving.settings import Settings

DEPLOY = REPO / "serving" / "deploy"
_BY = re.compile(r"\bby \(([^)]*)\)")
_MATCHED = re.compile(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"")
_METRIC = re.compile(r"\brouter_[a-z0-9_]+")
# Of Prometheus itself, and of the numbers that a drift report holds.
_ALWAYS = frozenset(("job", "instance", "le", "__name__"))


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, frozenset[str]]:
    """Every name in a real exposition, with its labels."""
    state = tmp_path_factory.mktemp("state")
    (state / "log").mkdir()

    async def scraped() -> tuple[str, dict[str, frozenset[str]]]:
        async with running(Settings(state_dir=state)) as parts:
            text = parts.metrics.exposition(queue_rows=0, sessions=0).decode()
            labels = {
                name: frozenset(getattr(collector, "_labelnames", ()))
                for collector, names in _collectors(parts.metrics.registry).items()
                for name in names
            }
            return text, labels

    text, labels = asyncio.run(scraped())
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.M))
    found = {name: labels.get(name, frozenset()) for name in kinds}
    for name, kind in kinds.items():
        if kind == "histogram":
            found |= {f"{name}_{end}": labels[name] for end in ("bucket", "count", "sum")}
    return found


def _collectors(registry: Any) -> dict[Collector, list[str]]:
    found: dict[Collector, list[str]] = registry._collector_to_names
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard and of the rules, with where it stands."""
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def test_every_metric_and_label_of_dashboard_and_alerts_is_one_of_the_service(
    metrics: Mapping[str, frozenset[str]],
) -> None:
    for place, query in expressions():
        names = [name for name in _METRIC.findall(query) if not name.startswith("router_drift_")]
        assert set(names) <= metrics.keys(), place
        used = {label for match in _BY.findall(query) for label in match.split(", ")}
        used |= set(_MATCHED.findall(query))
        allowed = _ALWAYS.union(*(metrics[name] for name in names))
        assert used <= allowed, (place, used - allowed)
        assert query.count("(") == query.count(")"), place


def test_the_dashboard_shows_what_an_operator_asks_for() -> None:
    shown = " ".join(query for _, query in expressions())
    for name in (
        *("router_decisions_total", "router_stage_seconds_bucket", "router_problems_total"),
        *("router_log_queue_rows", "router_log_dropped_total", "router_log_failures_total"),
        *("router_outcomes_total", "router_ledger_refusals_total", "router_ledger_holds_total"),
        *("router_ledger_settled_microusd_total", "router_ledger_overruns_total"),
        *("router_ledger_failures_total", "router_artifact_info", "router_explorations_total"),
        *("router_waiting_calls", "router_event_loop_lag_seconds_bucket", "router_drift_"),
    ):
        assert name in shown


def test_panels_do_not_lie_on_each_other_and_have_their_own_ids() -> None:
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_says_how_urgent_it_is_and_what_happened() -> None:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    manual = (REPO / "serving" / "operations.md").read_text()
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"page", "ticket", "info"}
        assert rule["annotations"]["summary"]
        assert rule["alert"] in manual
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"])


def test_what_the_image_copies_lies_in_the_project_and_what_it_installs_is_pinned() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, flags=re.M):
        *sources, _ = line.split()
        assert all((REPO / source).exists() for source in sources), line
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"'\.\[(.*?)\]'", text)[0].split(",")
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted} - {"router-model"}
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (REPO / "constraints.txt").read_text(), re.M))
    assert names <= pinned
    assert not names & {"torch", "mlflow", "pandas"}
    built = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for package in built["targets"]["wheel"]["packages"]:
        assert f"COPY {package} {package}" in text
    for name in re.findall(r"ROUTER_([A-Z_]+)=", text):
        assert name.lower() in Settings.model_fields


def test_the_image_runs_as_nobody_in_particular_and_says_when_it_is_ill() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "\nUSER router\n" in text
    assert "HEALTHCHECK" in text
    assert "/healthz" in text


def test_the_parts_of_the_composition_fit_together() -> None:
    content = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = content["services"]
    assert set(services) == {"router", "valkey", "prometheus", "grafana", "postgres", "mlflow"}
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service.get("secrets", ())) <= set(content["secrets"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            is_file = source.startswith("./")
            assert (DEPLOY / source).is_file() if is_file else source in content["volumes"]
        for condition in service.get("depends_on", {}).values():
            assert condition == {"condition": "service_healthy"}
    for other in services["router"]["depends_on"]:
        assert "healthcheck" in services[other]
    for name in services["router"]["environment"]:
        assert name.removeprefix("ROUTER_").lower() in Settings.model_fields
    assert "--appendfsync always" in services["valkey"]["command"]
    built = services["router"]["build"]
    assert (DEPLOY / built["context"] / built["dockerfile"]).is_file()
    assert (DEPLOY / built["context"]).resolve() == REPO


def test_prometheus_reads_the_rules_that_lie_beside_its_settings() -> None:
    content = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert content["rule_files"] == ["alerts.yml"]
    assert [each["job_name"] for each in content["scrape_configs"]] == ["router"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text().replace("/opt/router/bin", str(scripts))
        (tmp_path / unit.name).write_text(text.replace("User=router", "User=root"))
    units = sorted(tmp_path.iterdir())
    assert len(units) == 5
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    # What is wrong with other units of this machine is not ours.
    assert not [line for line in said.stderr.splitlines() if "router" in line], said.stderr
