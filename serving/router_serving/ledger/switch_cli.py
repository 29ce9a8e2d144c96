"""The commands `router-serve switch`: stop a caller now, let it go on, see who is stopped."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from router_serving.errors import StartError
from router_serving.ledger.opening import open_store, place_of
from router_serving.ledger.subjects import subject_of
from router_serving.ledger.switches import reason_of, since_of
from router_serving.ledger.types import LedgerStore, Switch
from router_serving.settings import Settings
from router_serving.subcommands import StateDir, refusals, settings_in

switch_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Kill switch: stop everybody, a tenant, a key or a user at once, until told otherwise.",
)

Subject = Annotated[
    str,
    typer.Argument(help="all, tenant:TENANT, key:TENANT/KEY or user:TENANT/USER."),
]


@switch_app.command(
    epilog='Example: router-serve switch on tenant:acme --reason "a loop in the nightly job"'
)
def on(
    context: typer.Context,
    subject: Subject,
    reason: Annotated[str, typer.Option(help="What the stopped callers are told.")],
    state_dir: StateDir = None,
) -> None:
    """Refuse every call of the subject, within about a second, also after restarts."""
    with _opened(context, state_dir) as (store, settings):
        switch = Switch(subject=subject_of(subject), reason=reason_of(reason), since_s=time.time())
        store.switch_on(switch)
        typer.echo(f"{switch.subject} is stopped, in {place_of(settings)}.")


@switch_app.command(epilog="Example: router-serve switch off tenant:acme")
def off(context: typer.Context, subject: Subject, state_dir: StateDir = None) -> None:
    """Let the subject go on; exit code 1 where it was not stopped."""
    with _opened(context, state_dir) as (store, settings):
        known = subject_of(subject)
        if not store.switch_off(known):
            raise StartError(f"{known} was not stopped, in {place_of(settings)}")
        typer.echo(f"{known} may go on, in {place_of(settings)}.")


@switch_app.command("list", epilog="Example: router-serve switch list")
def list_switches(context: typer.Context, state_dir: StateDir = None) -> None:
    """Show who is stopped, since when and why."""
    with _opened(context, state_dir) as (store, settings):
        switches = sorted(store.switches(), key=lambda switch: switch.subject)
        for switch in switches:
            typer.echo(f"{switch.subject}  since {since_of(switch)}  {switch.reason}")
        if not switches:
            typer.echo(f"Nobody is stopped, in {place_of(settings)}.", err=True)


@contextmanager
def _opened(
    context: typer.Context, state_dir: Path | None
) -> Iterator[tuple[LedgerStore, Settings]]:
    """The service's ledger; ends with 1 and one line for what we refuse on purpose."""
    with refusals("switch"):
        settings = settings_in(context, state_dir)
        if settings.ledger_url is None and not settings.state_dir.is_dir():
            # A ledger made in the wrong place would stop nobody.
            raise StartError(
                f"--state-dir: got {settings.state_dir.absolute()}, which is no folder; expected "
                "that of the service"
            )
        store = open_store(settings)
        try:
            yield store, settings
        finally:
            store.close()
