from dataclasses import dataclass
from pathlib import Path

import pytest

from router_serving.readiness import LOG_GRACE_S, Disk, Readiness, disk_of

ROOMY = Disk(free=10**12, total=2 * 10**12)


@dataclass
class Part:
    """A part of the service, as far as readiness looks at it."""

    last_error: str | None = None


class World:
    """Parts, a clock and a disk that a test sets."""

    def __init__(self, *, has_hard_cap: bool = False, disk: Disk | None = ROOMY) -> None:
        self.log, self.ledger, self.now_s = Part(), Part(), 0.0
        self.tenants = Part()
        self.readiness = Readiness(
            log=self.log,
            ledger=self.ledger,
            has_hard_cap=lambda: has_hard_cap,
            disk=lambda: disk,
            files={"tenants.toml": self.tenants},
            clock=lambda: self.now_s,
        )


def test_a_sound_process_is_ready() -> None:
    report = World().readiness.report()
    assert (report.status, report.reasons, report.warnings) == ("ready", (), ())


def test_a_process_that_stops_is_not_ready() -> None:
    world = World()
    world.readiness.stop()
    assert world.readiness.report().status == "not_ready"


@pytest.mark.parametrize(("has_hard_cap", "status"), [(True, "not_ready"), (False, "degraded")])
def test_an_unreachable_ledger_counts_where_a_cap_has_to_hold(
    has_hard_cap: bool, status: str
) -> None:
    world = World(has_hard_cap=has_hard_cap)
    world.ledger.last_error = "/secret/place: locked"
    report = world.readiness.report()
    assert report.status == status
    assert "secret" not in str(report)


def test_a_log_that_fails_is_amiss_after_a_while_and_never_sends_callers_away() -> None:
    world = World(has_hard_cap=True)
    world.log.last_error = "/secret/place: no space left"
    assert world.readiness.report().status == "ready"
    world.now_s = LOG_GRACE_S
    report = world.readiness.report()
    assert report.status == "degraded"
    assert "secret" not in str(report)
    world.log.last_error = None
    assert world.readiness.report().status == "ready"
    world.log.last_error = "again"
    assert world.readiness.report().status == "ready"


@pytest.mark.parametrize(
    "disk", [None, Disk(free=10**7, total=10**8), Disk(free=10**10, total=10**13)]
)
def test_a_disk_without_room_is_amiss(disk: Disk | None) -> None:
    assert World(disk=disk).readiness.report().status == "degraded"


def test_the_room_of_a_folder_that_is_gone_can_not_be_told(tmp_path: Path) -> None:
    assert disk_of(tmp_path / "gone") is None


def test_a_refused_file_is_amiss_and_only_who_may_know_is_told_why() -> None:
    world = World(has_hard_cap=True)
    world.tenants.last_error = "/secret/tenants.toml: acme.models: got 3"
    report = world.readiness.report()
    assert (report.status, report.reasons) == ("degraded", ())
    assert report.told(may_know=False) == ("tenants.toml: refused",)
    assert report.told(may_know=True) == (
        "tenants.toml: refused: /secret/tenants.toml: acme.models: got 3",
    )
    world.tenants.last_error = None
    assert world.readiness.report().status == "ready"
