"""The settings of one serving process, read once from the environment."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from router_serving.errors import StartError


class Settings(BaseSettings):
    """Frozen; every field is `ROUTER_<NAME>` in the environment.

    Each description says what the setting trades.
    """

    model_config = SettingsConfigDict(env_prefix="ROUTER_", frozen=True, extra="ignore")

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on: anything but loopback lets others reach a keyless API.",
    )
    port: int = Field(
        default=8080, ge=0, le=65535, description="TCP port; 0 takes a free one and prints it."
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes: more throughput for about 120 MB each, two thirds of it shared, "
        "and session memory and repeated decision ids are then known per process only.",
    )
    allow_keyless: bool = Field(
        default=False,
        description="Permit a non-loopback host without keys: convenient behind a private network, "
        "open to everybody anywhere else.",
    )
    state_dir: Path = Field(
        default=Path("var"),
        description="Folder of the log and the exported artifact: must survive restarts, "
        "and its disk decides how fast an outcome is acknowledged.",
    )
    artifact: Path | None = Field(
        default=None,
        description="Artifact folder where the state folder has none: pins a version, "
        "and the shipped starter is then not used.",
    )
    catalog: Path | None = Field(
        default=None,
        description="TOML laid over the artifact's catalog: own models and prices, "
        "at the price of answers that another installation does not give.",
    )
    tenants: Path | None = Field(
        default=None,
        description="TOML of the tenants' contracts, exploration and pins [<state>/tenants.toml]: "
        "one file may serve several installations, and then has to exist.",
    )
    max_body_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="Largest body read: higher takes longer conversations, and more memory per "
        "open connection.",
    )
    max_waiting: int = Field(
        default=256,
        ge=1,
        description="Calls that may wait for their decision: higher rides out longer bursts, lower "
        "refuses (503) sooner instead of answering late.",
    )
    deadline_ms: int = Field(
        default=1000,
        ge=1,
        description="A call that waited this long is answered by a fixed fallback, which says so: "
        "lower keeps gateways quick under load, at the price of dearer choices.",
    )
    max_connections: int = Field(
        default=4096,
        ge=1,
        description="Connections of one process: higher admits more gateways, for a file "
        "descriptor and about 20 kB each.",
    )
    header_timeout_s: float = Field(
        default=10.0,
        gt=0.0,
        description="Time a caller has for its headers: higher bears slow networks, and callers "
        "that hold connections without asking anything.",
    )
    body_timeout_s: float = Field(
        default=30.0,
        gt=0.0,
        description="Time a caller has for its body: the same trade.",
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        description="valkey:// or redis:// address of a ledger that several machines share; unset "
        "keeps budgets in <state>/ledger.sqlite, which only one machine can share. It may hold a "
        "password, and is never shown.",
    )
    ledger_trust_durability: bool = Field(
        default=False,
        description="Take a shared ledger that does not show its settings, as managed servers do: "
        "one that does not sync each write to disk forgets spending when it restarts.",
    )
    hold_s: float = Field(
        default=900.0,
        gt=0.0,
        description="Time after which a reservation without an outcome is given back: longer than "
        "any call takes, or its bill comes after its money was given away.",
    )
    lease_share: float = Field(
        default=1 / 64,
        gt=0.0,
        le=1.0,
        description="Part of a cap that a process takes at once to decide from memory: higher asks "
        "the ledger less often, lower strands less near the cap.",
    )
    webhook_url: SecretStr | None = Field(
        default=None,
        description="Where alerts and budget notices are posted as JSON: the address may hold a "
        "token, and is never shown.",
    )
    anomaly_factor: float = Field(
        default=10.0,
        gt=1.0,
        description="An alert tells when a tenant's last minute exceeds this many times the usual "
        "at that hour of the week: lower tells sooner, and of busy days as well.",
    )
    anomaly_calls_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="What more calls in a minute tell where there is no earlier week to compare "
        "with; unset tells nothing of new tenants and unusual hours.",
    )
    anomaly_usd_per_minute: float | None = Field(
        default=None,
        gt=0.0,
        le=1e6,
        description="The same for what a minute costs.",
    )
    keys: Path | None = Field(
        default=None,
        description="JSON of the API keys [<state>/keys.json]: one file may serve several "
        "installations, and then has to exist.",
    )
    artifact_public_key: Path | None = Field(
        default=None,
        description="Ed25519 public key (PEM): only artifacts signed with its other half are "
        "loaded, the shipped starter excepted.",
    )
    min_adequacy: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="P(adequate) asked of a model when neither the request nor the tenant's "
        "contract sets it: higher costs more money, lower more failed tasks; unset takes the "
        "artifact's own.",
    )
    log_queue_rows: int = Field(
        default=10_000,
        ge=1,
        description="Decisions that may wait to be written: higher survives a slower disk, and "
        "loses more when the process is killed.",
    )
    log_flush_ms: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="Longest a decision waits for its group commit: higher saves disk syncs, and "
        "loses more when the process is killed.",
    )
    log_text_tenants: frozenset[str] = Field(
        default=frozenset(),
        description="Tenants (JSON list) whose prompt text is logged: it allows new features to be "
        "computed later, and puts what users wrote on disk.",
    )
    recent_decisions: int = Field(
        default=10_000,
        ge=0,
        description="Answers remembered for repeated decision ids: higher covers later retries, at "
        "about 2 kB each.",
    )
    session_entries: int = Field(
        default=20_000,
        ge=0,
        description="Sessions whose warm prefixes are remembered: higher prices caches right for "
        "more of them, at about 1.5 kB each.",
    )
    reload_poll_s: float = Field(
        default=5.0,
        gt=0.0,
        description="Seconds between looks at the artifact, the tenants and the rollout: lower "
        "picks up a change sooner, for a few file stats each time.",
    )
    drain_s: float = Field(
        default=0.0,
        ge=0.0,
        le=300.0,
        description="Seconds between SIGTERM, when /readyz fails, and the end of listening: as "
        "long as a balancer takes to notice, for so much slower a restart.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least level of the log lines on stderr: lower tells more of what happened, "
        "and costs disk.",
    )
    systemone_tiers: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Models of each tier (JSON) as the gateway that asks /v1/systemone has them: "
        "more models give more to choose from, and each must be what the gateway then calls.",
    )
    max_outcomes: int = Field(
        default=10_000,
        ge=1,
        description="Most outcomes in one call: higher imports faster, and makes one call refuse "
        "more when a single row is wrong.",
    )

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # another name: it may lead anywhere
            return False

    @property
    def log_dir(self) -> Path:
        """Folder of the segment log."""
        return self.state_dir / "log"

    def shown(self) -> dict[str, object]:
        """Every setting as plain JSON values, secrets redacted, for the line printed at start."""
        return self.model_dump(mode="json")


def read_settings(given: Mapping[str, Any]) -> Settings:
    """Settings from the environment under the given ones; StartError names what is wrong."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "ROUTER_" + "_".join(str(step) for step in first["loc"]).upper()
        raise StartError(f"{name}: got {first['input']!r}, expected: {first['msg']}") from None
