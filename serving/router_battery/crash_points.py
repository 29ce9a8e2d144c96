"""Kills a command of `router-data` before each of its changes on disk, one after the other.

For tests that nothing is lost wherever a process dies: `crash_everywhere` leaves one folder for
each point. A power failure is another matter: what wasn't synced may be lost then too.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

KILLED = 9
# What changes names or makes bytes durable, and what writes whole files.
_CALLS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync", "fdatasync")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def crash_everywhere(log: Path, work: Path, arguments: Sequence[str]) -> list[Path]:
    """Copies of a log folder in which a command died, before its first change, its second, ...

    `arguments` are those of the command line without `--state`, such as ("compact",
    "--grace-s", "0"). Of a file that DuckDB writes one point is in the middle of it. In the last
    folder the command came to its end.
    """
    command = [sys.executable, "-m", "router_battery.crash_points", str(log), str(work), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {answer.stderr}{answer.stdout}")
    return [work / str(step) for step in range(int(answer.stdout) + 1)]


def _main(arguments: Sequence[str]) -> int:
    """Crash in a child of this process for each step; returns the number of steps."""
    from router_data.cli import app  # loaded once, not once for each child

    log, work = Path(arguments[0]), Path(arguments[1])
    step = 0
    while True:
        folder = work / str(step)
        shutil.copytree(log, folder)
        child = os.fork()
        if child == 0:
            _die(partial(app, [*arguments[2:], "--state", str(folder)]), step)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != KILLED:
            return step
        step += 1


def _die(work: Callable[[], object], step: int) -> None:
    """Do `work` until its step number `step`; never returns."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    remaining = step

    def take_step() -> bool:
        nonlocal remaining
        remaining -= 1
        return remaining < 0

    _watch(take_step)
    try:
        work()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) and end.code != KILLED else 1)
    os._exit(0)


def _watch(is_last: Callable[[], bool]) -> None:
    def stopping(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if is_last():
                os._exit(KILLED)
            return original(*args, **kwargs)

        return call

    def opened(event: str, details: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(details[2], int) and details[2] & _WRITES and is_last():
            os._exit(KILLED)

    from router_data import store

    for name in _CALLS:
        setattr(os, name, stopping(getattr(os, name)))
    store.copy_to = stopping(_torn(store.copy_to, is_last))
    sys.addaudithook(opened)


def _torn(copy_to: Callable[..., int], is_last: Callable[[], bool]) -> Callable[..., int]:
    def call(connection: Any, sql: str, params: Any, path: Path, options: str) -> int:
        n_rows = copy_to(connection, sql, params, path, options)
        if is_last():
            os.truncate(path, path.stat().st_size // 2)
            os._exit(KILLED)
        return n_rows

    return call


if __name__ == "__main__":
    sys.stdout.write(str(_main(sys.argv[1:])))
