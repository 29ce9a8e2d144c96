"""What an operator sees of the service as numbers: metrics for Prometheus."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from router_model.types import Versions
from router_serving.drift import Gauges

STAGES = ("read", "wait", "admit", "parse", "features", "embed", "decide", "total")
STAGE_BUCKETS_S = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
UNKNOWN_MODEL = "other"
_NO_DRIFT: Gauges = {}


class Metrics:
    """The counters of one process; with several workers, prometheus_client adds them up.

    Other modules put their own into `registry`.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        stage_seconds = _histogram(
            registry, "router_stage_seconds", "Time in a stage of a decision"
        )
        self._stages = {stage: stage_seconds.labels(stage) for stage in STAGES}
        self._decisions = _counter(
            registry, "router_decisions", "Decisions taken", "model", "reason"
        )
        self._exclusions = _counter(
            registry, "router_exclusions", "Models excluded, by the code of the reason", "code"
        )
        self._problems = _counter(registry, "router_problems", "Calls refused, by code", "code")
        self._outcomes = _counter(
            registry, "router_outcomes", "Outcomes acknowledged", "model", "adequate"
        )
        self._repeats = _counter(
            registry, "router_repeated_decisions", "Repeated decision ids answered from memory"
        )
        self._sessions_seen = _counter(
            *(registry, "router_session_calls", "Decisions by what is known of their session"),
            "session",
        )
        self._log_rows = _counter(registry, "router_log_rows", "Rows made durable", "kind")
        self._log_dropped = _counter(
            registry, "router_log_dropped", "Decisions that were never written", "cause"
        )
        self._log_failures = _counter(registry, "router_log_failures", "Group commits that failed")
        self._reloads = _counter(registry, "router_reloads", "Artifact reloads", "result")
        self._queue = _gauge(
            registry, "router_log_queue_rows", "Decisions waiting to be written", mode="livesum"
        )
        self._sessions = _gauge(
            registry, "router_sessions", "Sessions with a remembered prefix", mode="livesum"
        )
        self._artifact = _gauge(
            *(registry, "router_artifact_info", "1 for the versions in use"),
            *("artifact", "catalog", "policy"),
            mode="livemax",
        )
        self._versions: Versions | None = None
        self._try(registry)

    def _try(self, registry: CollectorRegistry) -> None:
        """What is tried: models that are not the first choice, artifacts, changed files."""
        self._explorations = _counter(
            registry,
            "router_explorations",
            'Decisions, by "on" or why exploration was off',
            "state",
        )
        self._regret = _counter(
            registry, "router_exploration_regret_usd", "What exploration is expected to have cost"
        )
        self._sides = _counter(
            registry, "router_rollout_decisions", "Decisions by side of the rollout", "side"
        )
        self._compared = _counter(
            *(registry, "router_rollout_outcomes", "Outcomes by side of the rollout"),
            *("side", "adequate"),
        )
        self._files = _counter(
            registry, "router_file_events", "Changes of files that are watched", "file", "result"
        )
        self._rollout = _gauge(
            *(registry, "router_rollout_info", "1 for the rollout's mode and artifact"),
            *("mode", "artifact"),
            mode="livemax",
        )
        self._rollout_shown: tuple[str, str] | None = None

    def decided(
        self,
        *,
        model: str,
        reason: str,
        excluded: Mapping[str, str],
        stages: Mapping[str, int],
        exploration: str = "not_set",
        expected_regret_usd: float = 0.0,
        side: str | None = None,
        session: str = "new",
    ) -> None:
        """Count one decision and the nanoseconds of its stages.

        `session` is "known", "new", or "lost" where the request's history is not remembered.
        """
        self._sessions_seen.labels(session).inc()
        self._explorations.labels(exploration).inc()
        if expected_regret_usd > 0.0:
            self._regret.inc(expected_regret_usd)
        if side is not None:
            self._sides.labels(side).inc()
        self._decisions.labels(model, code_of(reason)).inc()
        for text in excluded.values():
            self._exclusions.labels(code_of(text)).inc()
        for stage, nanoseconds in stages.items():
            self._stages[stage].observe(nanoseconds / 1e9)

    def repeated(self) -> None:
        """Count a repeated decision_id."""
        self._repeats.inc()

    def refused(self, code: str) -> None:
        """Count a call that ended in a problem."""
        self._problems.labels(code).inc()

    def observed(self, *, model: str, adequate: bool | None) -> None:
        """Count an acknowledged outcome."""
        self._outcomes.labels(model, _said(adequate)).inc()

    def compared(self, side: str, adequate: bool | None) -> None:
        """Count an outcome of a decision that was made while a rollout was in force."""
        self._compared.labels(side, _said(adequate)).inc()

    def logged(self, *, decisions: int, outcomes: int) -> None:
        """Count rows that are on disk now."""
        self._log_rows.labels("decision").inc(decisions)
        self._log_rows.labels("outcome").inc(outcomes)

    def dropped(self, rows: int, *, cause: str) -> None:
        """Count decisions that will never be written."""
        self._log_dropped.labels(cause).inc(rows)

    def log_failed(self) -> None:
        """Count a group commit that failed."""
        self._log_failures.inc()

    def reloaded(self, result: str) -> None:
        """Count a reload: "swapped" or "refused"."""
        self._reloads.labels(result).inc()

    def file_event(self, file: str, result: str) -> None:
        """Count a change of a watched file: "taken", "refused", "stopped"."""
        self._files.labels(file, result).inc()

    def rollout(self, mode: str, artifact: str) -> None:
        """Show the mode of the rollout and its artifact, and no longer those before."""
        if self._rollout_shown is not None:
            self._rollout.labels(*self._rollout_shown).set(0)
        self._rollout_shown = (mode, artifact)
        self._rollout.labels(mode, artifact).set(1)

    def serving(self, versions: Versions) -> None:
        """Show the versions in use, and no longer those before."""
        if self._versions is not None:
            self._artifact_of(self._versions).set(0)
        self._versions = versions
        self._artifact_of(versions).set(1)

    def exposition(self, *, queue_rows: int, sessions: int, drift: Gauges = _NO_DRIFT) -> bytes:
        """The text that Prometheus scrapes; `drift` becomes gauges `router_drift_<name>`."""
        self._queue.set(queue_rows)
        self._sessions.set(sessions)
        return self._counted() + _drift_exposition(drift)

    def _counted(self) -> bytes:
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        forget_the_dead(Path(os.environ[MULTIPROCESS_VARIABLE]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped in the package
        return generate_latest(registry)

    def _artifact_of(self, versions: Versions) -> Gauge:
        return self._artifact.labels(versions.artifact, versions.catalog, versions.policy)


def share_counts(folder: Path) -> None:
    """Let the metrics of this process, and of those forked from it, be added up through files."""
    os.environ[MULTIPROCESS_VARIABLE] = str(folder)
    # The package looks at the variable when it is imported, which was before.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # untyped there


def forget_the_dead(folder: Path) -> None:
    """Take away the gauges of processes that are gone; their counters stay in the sums.

    Nothing tells a worker that another was killed, so it is found out whenever somebody scrapes.
    """
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]  # untyped there


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def code_of(text: str) -> str:
    """The code in front of a reason.

    >>> code_of("context_window: needs 210000 of 200000 tokens")
    'context_window'
    """
    return text.partition(":")[0].strip()


def _drift_exposition(drift: Gauges) -> bytes:
    """Gauges of what stands in a file: the same in every process, gone when the file is."""
    registry = CollectorRegistry()
    registry.register(_Shown(drift))
    return generate_latest(registry)


class _Shown(Collector):
    def __init__(self, drift: Gauges) -> None:
        self._drift = drift

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, shown in self._drift.items():
            labels = [] if "" in shown else ["of"]
            family = GaugeMetricFamily(
                f"router_drift_{name}", "From the last drift report", labels=labels
            )
            for of, value in shown.items():
                family.add_metric([of] if labels else [], value)
            yield family


def _said(adequate: bool | None) -> str:
    return "unknown" if adequate is None else str(adequate).lower()


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=registry)


def _histogram(registry: CollectorRegistry, name: str, text: str) -> Histogram:
    return Histogram(name, text, ["stage"], buckets=STAGE_BUCKETS_S, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, text: str, *labels: str, mode: str) -> Gauge:
    return Gauge(name, text, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]  # a Literal there
