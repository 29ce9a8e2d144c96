"""`router-train watch`: the champion since its promotion, and the way back on a breach."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from router_model.errors import RouterError
from router_training.commands.shared import (
    DEFAULT_STATE,
    ParamsFile,
    SignKey,
    State,
    app,
    one_line_errors,
    params_of,
    require_folder,
)
from router_training.registry import Registry

if TYPE_CHECKING:
    from router_training.watch import Look


@app.command(epilog="Example: router-train watch --state ./var --every 60")
def watch(
    state: State = DEFAULT_STATE,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 60.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once; exit code 1 when a promise is broken.")
    ] = False,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="How much more often it may fail than before.")
    ] = 0.02,
    delta: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="Chance of any false alarm, over all looks.")
    ] = 0.05,
    min_outcomes: Annotated[
        int, typer.Option(min=1, help="Sessions before anything is called broken.")
    ] = 100,
    params_file: ParamsFile = None,
    sign_key: SignKey = None,
) -> None:
    """Test the champion on the log since its promotion; roll back when a promise is broken.

    It may fail at most the margin more often than the champion before it, and of the requests
    that it downgrades under a contract at most alpha may be inadequate. Stops of a canary by the
    service are noted in MLflow too. Ends cleanly on Ctrl-C or SIGTERM.
    """
    with one_line_errors():
        from router_training.artifacts import checker
        from router_training.watch import Promise, look
        from router_training.watch import watch as keep_watching

        require_folder(state, "--state")
        registry = Registry(state)
        promise = Promise(margin=margin, delta=delta, min_outcomes=min_outcomes)
        rule = params_of(params_file).adequacy

        def take_look() -> "Look":
            return look(state, registry, promise=promise, rule=rule, check=checker(sign_key))

        if once:
            found = take_look()
            _tell(found)
            if found.is_broken:
                raise typer.Exit(1)
            return
        with _until_signalled() as ended:
            keep_watching(take_look, every_s=every, ended=ended, told=_tell)
        typer.echo("watch: ended")


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the handlers before come back afterwards."""
    ended = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: ended.set()) for number in numbers]
    try:
        yield ended
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _tell(found: "Look | RouterError") -> None:
    if isinstance(found, RouterError):
        typer.echo(f"error: {found}", err=True)
        return
    typer.echo(f"champion: version {found.champion}; rollout: {found.rollout}")
    for test in found.tests:
        typer.echo(f"  {'BROKEN' if test.is_broken else 'ok'} {test}")
    if found.rolled_back_to:
        typer.echo(f"rolled back to version {found.rolled_back_to}, exported", err=True)
    elif found.is_broken:
        typer.echo("no version to go back to: promote another, or export one by hand", err=True)
