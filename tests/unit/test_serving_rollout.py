import asyncio
import json
from pathlib import Path

import pytest
from routers import router, write_artifact

from router_serving.canary import CANARY, CHAMPION, CanaryMonitor
from router_serving.rollout import Rollout, RolloutWatcher
from router_serving.rollout_file import RolloutFile
from router_serving.settings import Settings


class Service:
    """What the watcher puts into force, shows and counts."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.used: list[Rollout | None] = []
        self.shown: list[tuple[str, str]] = []
        self.counts: list[str] = []
        self.watcher = RolloutWatcher(
            Settings(state_dir=state),
            use=self.used.append,
            shown=lambda mode, version: self.shown.append((mode, version)),
            counted=self.counts.append,
        )

    def look(self, **content: object) -> Rollout | None:
        if content:
            (self.state / "rollout.json").write_text(json.dumps(content))
        asyncio.run(self.watcher.look())
        return self.watcher.current


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def rollout(mode: str, share: float, *, version: str = "new", shadow: bool = False) -> Rollout:
    file = RolloutFile(mode=mode, share=share, artifact="c", shadow=shadow)  # type: ignore[arg-type] # a Literal
    return Rollout(file, router(version=version), CanaryMonitor(file.promise))


def test_a_session_keeps_its_side_and_the_share_is_kept() -> None:
    canary = rollout("canary", 0.25)
    sides = [canary.side("acme", f"s{i}") for i in range(2_000)]
    assert sides == [canary.side("acme", f"s{i}") for i in range(2_000)]
    assert abs(sides.count(CANARY) / 2_000 - 0.25) < 4 * (0.25 * 0.75 / 2_000) ** 0.5
    salted = rollout("canary", 0.25, version="x")
    assert sides != [salted.side("acme", f"s{i}") for i in range(2_000)]
    wider = rollout("canary", 0.5)
    assert all(
        wider.side("acme", f"s{i}") == CANARY for i, side in enumerate(sides) if side == CANARY
    )


def test_shares_of_nothing_and_of_everything_are_exact() -> None:
    for mode, share, side in (
        ("canary", 0.0, CHAMPION),
        ("canary", 1.0, CANARY),
        ("shadow", 1.0, CHAMPION),
    ):
        tried = rollout(mode, share)
        assert {tried.side("t", f"s{i}") for i in range(300)} == {side}


def test_the_other_side_is_logged_in_shadow_and_when_asked() -> None:
    assert rollout("shadow", 0.0).is_shadowed
    assert not rollout("canary", 0.5).is_shadowed
    assert rollout("canary", 0.5, shadow=True).is_shadowed


def test_without_a_file_nothing_is_tried(service: Service) -> None:
    assert service.look() is None
    assert (service.used, service.shown, service.counts) == ([None], [("off", "")], [])


def test_what_the_file_says_is_put_into_force_once_and_counts_go_on(service: Service) -> None:
    write_artifact(service.state / "challenger")
    content = {"mode": "canary", "share": 0.1, "artifact": "challenger"}
    first = service.look(**content)
    assert first is not None
    assert service.look() is first
    assert service.shown[-1] == ("canary", first.version)
    wider = service.look(**content | {"share": 0.5})
    assert wider is not None
    assert wider.router is first.router
    assert wider.monitor is first.monitor
    stricter = service.look(**content | {"margin": 0.01})
    assert stricter is not None
    assert stricter.monitor is not first.monitor
    assert service.counts == ["taken"] * 3
    assert service.look(mode="off", artifact="challenger") is None
    assert service.shown[-1] == ("off", "")


def test_a_stop_holds_here_at_once_and_in_the_file(service: Service) -> None:
    write_artifact(service.state / "challenger")
    found = service.look(mode="canary", share=0.1, artifact="challenger")
    assert found is not None
    asyncio.run(service.watcher.stop(found, "too many failures"))
    asyncio.run(service.watcher.stop(found, "told twice"))
    assert service.used[-1] is None
    assert service.shown[-1] == ("stopped", found.version)
    content = json.loads((service.state / "rollout.json").read_text())
    assert (content["mode"], content["reason"]) == ("stopped", "too many failures")
    assert service.look() is None
    assert service.counts == ["taken", "stopped"]


def test_what_can_not_be_carried_out_ends_what_was_in_force(service: Service) -> None:
    write_artifact(service.state / "challenger")
    content = {"mode": "canary", "share": 0.1, "artifact": "challenger"}
    assert service.look(**content) is not None
    for change, message in (
        ({"artifact": "nowhere"}, "no such file, expected a trained artifact"),
        ({"share": 3}, "share: got 3.0"),
    ):
        assert service.look(**content | change) is None
        assert service.watcher.last_error is not None
        assert message in service.watcher.last_error
        assert service.shown[-1] == ("refused", "")
    assert service.look() is None
    assert service.counts == ["taken", "refused", "refused"]
    assert service.look(**content) is not None
    assert service.watcher.last_error is None
