"""The only door to MLflow: runs, versions of the router, and which of them serves.

Three aliases say what a version is: `champion` serves, `challenger` waits for promotion,
`previous` served before. The backend is SQLite in the state folder unless MLFLOW_TRACKING_URI
names another; MLflow's telemetry is switched off, so the default makes no network call.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from router_model.errors import RouterError
from router_training.exports import replace_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL = "router"
EXPERIMENT = "router"
ARTIFACT = "artifact"
REPORT = "report"
Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger", "previous")
_MAX_PARAM = 500
_MAX_TAG = 4000
_BATCH = 1000


class RegistryError(RouterError):
    """A version or alias that does not exist, or a registry that can't be reached."""

    code = "registry_error"


class Version(Struct, frozen=True, kw_only=True):
    """A registered version of the router."""

    number: str
    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class Registry:
    """Versions of the router in MLflow.

    `state` is the state folder; `tracking_uri` overrides MLFLOW_TRACKING_URI and the default.
    """

    def __init__(self, state: Path, *, tracking_uri: str | None = None) -> None:
        self.folder = state.resolve() / "mlflow"
        default = f"sqlite:///{self.folder / 'mlflow.db'}"
        self.tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default
        self._client: MlflowClient | None = None

    def register(
        self,
        artifact: Path,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        files: Iterable[Path] = (),
    ) -> Version:
        """A new version of an artifact folder, as challenger.

        `files` are kept beside it. `tags` should name the data snapshot and the code revision.
        """
        client = self.client
        run_id = self._logged_run(
            params=params, metrics=metrics, tags=tags, folders={ARTIFACT: artifact}, files=files
        )
        source = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
        self._ensure_model()
        made = client.create_model_version(MODEL, source, run_id=run_id, tags=dict(tags))
        self._alias("challenger", str(made.version))
        return Version(
            number=str(made.version), run_id=run_id, metrics=dict(metrics), tags=dict(tags)
        )

    def record(
        self,
        kind: str,
        *,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        files: Iterable[Path] = (),
    ) -> str:
        """The id of a new run that belongs to no version, such as a look at drift.

        It is tagged with `kind`, so that `tags.kind = "drift"` finds all of them.
        """
        return self._logged_run(
            params={}, metrics=metrics, tags={"kind": kind, **tags}, files=files
        )

    def annotate(
        self,
        version: Version,
        *,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        files: Iterable[Path] = (),
    ) -> None:
        """Add tags (to the version and its run), metrics and files to what is registered."""
        for name, value in (tags or {}).items():
            self.client.set_model_version_tag(MODEL, version.number, name, value[:_MAX_TAG])
            self.client.set_tag(version.run_id, name, value[:_MAX_TAG])
        self._log_metrics(version.run_id, metrics or {})
        for file in files:
            self.client.log_artifact(version.run_id, str(file), REPORT)

    def find(self, alias: Alias) -> Version | None:
        """The version an alias points to, None when nothing has it."""
        return self._found(lambda: self.client.get_model_version_by_alias(MODEL, alias))

    def numbered(self, number: str) -> Version | None:
        """The version with this number, None when there is none."""
        return self._found(lambda: self.client.get_model_version(MODEL, number))

    def find_tagged(self, name: str, value: str) -> Version | None:
        """The latest version with this tag, None when there is none."""
        from mlflow.exceptions import MlflowException

        query = f"name = '{MODEL}' and tags.`{name}` = '{value}'"
        try:
            found = self.client.search_model_versions(query)
        except MlflowException as error:
            raise RegistryError(f"{self.tracking_uri}: {error}") from error
        latest = max(found, key=lambda one: int(one.version), default=None)
        return None if latest is None else self._version(latest)

    def get(self, alias: Alias) -> Version:
        """The version an alias points to; RegistryError when nothing has it."""
        found = self.find(alias)
        if found is None:
            raise RegistryError(
                f"{alias}: no version has this alias in {self.tracking_uri}; {_HOW_TO_GET[alias]}"
            )
        return found

    def promote(self) -> Version:
        """Make the challenger champion and the champion previous. Safe to repeat after a crash."""
        challenger, champion = self.get("challenger"), self.find("champion")
        if champion is not None and champion.number != challenger.number:
            self._alias("previous", champion.number)
        self._alias("champion", challenger.number)
        self.client.delete_registered_model_alias(MODEL, "challenger")
        self.annotate(challenger, tags={"promoted_ms": _now(), "rolled_back_ms": ""})
        return challenger

    def rollback(self, *, reason: str = "by hand") -> Version:
        """Exchange champion and previous; a second rollback undoes the first.

        The version that goes is tagged with the reason, the one that comes with the time.
        """
        champion, previous = self.get("champion"), self.get("previous")
        self._alias("champion", previous.number)
        self._alias("previous", champion.number)
        gone = {"rolled_back_ms": _now(), "rollback_reason": reason}
        self.annotate(champion, tags=gone)
        self.annotate(previous, tags={"promoted_ms": _now(), "rolled_back_ms": ""})
        return previous

    def download(self, version: Version, folder: Path) -> Path:
        """The artifact of a version, copied below an existing folder."""
        return Path(self.client.download_artifacts(version.run_id, ARTIFACT, str(folder)))

    def download_report(self, version: Version, name: str, folder: Path) -> Path | None:
        """A file that was registered beside the artifact, None when there is no such one."""
        path = f"{REPORT}/{name}"
        if path not in {file.path for file in self.client.list_artifacts(version.run_id, REPORT)}:
            return None
        return Path(self.client.download_artifacts(version.run_id, path, str(folder)))

    def export(
        self, alias: Alias, dest: Path, *, check: Callable[[Path], object] | None = None
    ) -> Version:
        """Write the artifact of an alias to `dest`, which is complete at every moment.

        `dest` becomes a link to a folder beside it, replaced in one step. `check` may refuse the
        folder before that by raising. The two latest exports are kept.
        """
        version = self.get(alias)
        replace_folder(
            dest,
            lambda scratch: self.download(version, scratch),
            name=f"v{version.number}",
            check=check,
        )
        return version

    @property
    def client(self) -> "MlflowClient":
        """MLflow's client, made at first use."""
        if self._client is None:
            # Read when it is imported; DO_NOT_TRACK is understood only as "true".
            os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
            os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            from mlflow import MlflowClient

            if self.tracking_uri.startswith("sqlite:///"):
                Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(
                    parents=True, exist_ok=True
                )
            self._client = MlflowClient(
                tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri
            )
        return self._client

    def _logged_run(
        self,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        folders: Mapping[str, Path] = MappingProxyType({}),
        files: Iterable[Path] = (),
    ) -> str:
        """The id of a finished run with all of this in it; a failed one is marked as failed."""
        client = self.client
        short = {name: value[:_MAX_TAG] for name, value in tags.items()}
        run_id: str = client.create_run(self._experiment(), tags=short).info.run_id
        status = "FAILED"
        try:
            for name, value in params.items():
                client.log_param(run_id, name, str(value)[:_MAX_PARAM])
            self._log_metrics(run_id, metrics)
            for name, folder in folders.items():
                client.log_artifacts(run_id, str(folder), name)
            for file in files:
                client.log_artifact(run_id, str(file), REPORT)
            status = "FINISHED"
        finally:
            client.set_terminated(run_id, status)
        return run_id

    def _log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(_now())
        entries = [Metric(name, value, now, 0) for name, value in metrics.items()]
        for start in range(0, len(entries), _BATCH):
            self.client.log_batch(run_id, metrics=entries[start : start + _BATCH])

    def _found(self, ask: Callable[[], Any]) -> Version | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._version(ask())
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise RegistryError(f"{self.tracking_uri}: {error}") from error

    def _version(self, found: Any) -> Version:
        run = self.client.get_run(str(found.run_id))
        return Version(
            number=str(found.version),
            run_id=str(found.run_id),
            metrics=dict(run.data.metrics),
            tags=dict(found.tags),
        )

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self.tracking_uri.startswith("sqlite:"):
            location = (self.folder / "artifacts").as_uri()
        return self.client.create_experiment(EXPERIMENT, artifact_location=location)

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(MODEL)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise RegistryError(f"{self.tracking_uri}: {error}") from error

    def _alias(self, alias: Alias, number: str) -> None:
        self.client.set_registered_model_alias(MODEL, alias, number)


_HOW_TO_GET: Mapping[Alias, str] = {
    "challenger": "`router-train run` registers one",
    "champion": "`router-train promote` makes the challenger champion",
    "previous": "there is one after the second promotion",
}


def _now() -> str:
    return str(time.time_ns() // 1_000_000)
