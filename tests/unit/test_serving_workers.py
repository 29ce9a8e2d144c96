import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Workers that write what they see into files, under a supervisor in a process of its own.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from router_serving import workers

workers.LOOK_S, workers.PAUSE_S = 0.05, 0.05
workers.STUCK_LOOKS, workers.STARTING_LOOKS = 10, 40
folder, kind = Path(sys.argv[1]), sys.argv[2]


def serve(beat):
    def told(number, frame):
        (folder / f"{os.getpid()}.{signal.Signals(number).name}").touch()

    if kind == "broken":
        return 3
    if kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, told)
    (folder / f"{os.getpid()}.started").touch()
    while not (folder / f"{os.getpid()}.stuck").exists():
        beat()
        time.sleep(0.02)
    time.sleep(600)


sys.exit(workers.Workers(serve, n_workers=2, end_s=0.5).run())
"""


class Supervised:
    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), kind], stdout=subprocess.PIPE, text=True
        )

    def marked(self, name: str) -> set[int]:
        return {int(path.stem) for path in self.folder.glob(f"*.{name}")}

    def alive(self) -> set[int]:
        return {pid for pid in self.marked("started") if is_alive(pid)}


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def supervised(folder: Path, kind: str = "sound") -> Iterator[Supervised]:
    found = Supervised(folder, kind)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()
        for pid in found.alive():  # they hold the pipe open
            os.kill(pid, signal.SIGKILL)
        found.process.communicate()


def test_a_killed_worker_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    with supervised(tmp_path) as found:
        until(lambda: len(found.alive()) == 2)
        killed, other = sorted(found.alive())
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(found.alive()) == 2 and killed not in found.alive())
        assert other in found.alive()


def test_a_worker_that_does_not_go_round_is_replaced(tmp_path: Path) -> None:
    with supervised(tmp_path) as found:
        until(lambda: len(found.alive()) == 2)
        stuck = min(found.alive())
        (tmp_path / f"{stuck}.stuck").touch()
        until(lambda: len(found.alive()) == 2 and stuck not in found.alive())


def test_workers_that_end_do_not_make_others_seem_stuck(tmp_path: Path) -> None:
    # Each wake-up for a process that was not quite gone counted as a look at all of them.
    with supervised(tmp_path) as found:
        until(lambda: len(found.alive()) == 2)
        stays = max(found.alive())
        for _ in range(10):
            until(lambda: len(found.alive()) == 2)
            os.kill(next(pid for pid in found.alive() if pid != stays), signal.SIGKILL)
        until(lambda: len(found.alive()) == 2)
        assert stays in found.alive()


def test_a_frozen_supervisor_blames_nobody_when_it_thaws(tmp_path: Path) -> None:
    with supervised(tmp_path) as found:
        until(lambda: len(found.alive()) == 2)
        before = found.alive()
        found.process.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        found.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        assert found.alive() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_end_ends_all(tmp_path: Path, number: int) -> None:
    with supervised(tmp_path) as found:
        until(lambda: len(found.alive()) == 2)
        found.process.send_signal(number)
        assert found.process.wait(30) == 0
        assert found.alive() == set()


def test_ctrl_c_for_the_whole_group_ends_workers_once(tmp_path: Path) -> None:
    with supervised(tmp_path) as found:
        until(lambda: len(found.alive()) == 2)
        for pid in (*found.alive(), found.process.pid):
            os.kill(pid, signal.SIGINT)
        assert found.process.wait(30) == 0


def test_a_worker_that_won_t_end_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, "deaf") as found:
        until(lambda: len(found.alive()) == 2)
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait(30) == 1
        assert found.alive() == set()


def test_sighup_is_passed_on(tmp_path: Path) -> None:
    with supervised(tmp_path) as found:
        until(lambda: len(found.alive()) == 2)
        found.process.send_signal(signal.SIGHUP)
        until(lambda: found.marked("SIGHUP") == found.alive())


def test_where_no_worker_comes_up_the_service_ends_and_says_so(tmp_path: Path) -> None:
    with supervised(tmp_path, "broken") as found:
        assert found.process.wait(30) == 1
        assert found.process.stdout is not None
        assert "worker.ended" in found.process.stdout.read()
