"""The commands `router-serve keys`: make, list, revoke and rotate API keys."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from router_serving import keys_file
from router_serving.envelope import name_of
from router_serving.keys import SCOPES, Key, NewKey, Scope, keys_path, read_keys, utc_now
from router_serving.subcommands import StateDir, refusals, settings_in

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Beyond it a date may not have four digits any more.
_LONGEST: Final = timedelta(days=36_500)
_COLUMNS: Final = ("KEY", "NAME", "TENANT", "SCOPES", "CREATED", "EXPIRES", "STATE")

keys_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="API keys of the service. Once there is one, the service asks every caller for a key.",
)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it: rk_ab12cd34.")]


@keys_app.command(
    epilog="Example: router-serve keys create --tenant acme --scopes route,outcomes --expires 90d"
)
def create(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="Who it speaks for; '*' for any (gateways).")],
    scopes: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(SCOPES)}.")],
    name: Annotated[str, typer.Option(help="What you will know it by.")] = "",
    expires: Annotated[
        str | None, typer.Option(help="Lifetime, such as 90d or 12h [without end].")
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    allowed = scopes_of(scopes)
    lifetime = None if expires is None else duration_of(expires, "--expires")
    with refusals("keys"):
        made = keys_file.create(
            _path(context, state_dir),
            tenant=name_of(tenant, "--tenant"),
            scopes=allowed,
            now=utc_now(),
            name=name and name_of(name, "--name"),
            lifetime=lifetime,
        )
    _tell(made)


@keys_app.command("list", epilog="Example: router-serve keys list")
def list_keys(context: typer.Context, state_dir: StateDir = None) -> None:
    """Show every key that was made, revoked ones too; secrets are known to nobody."""
    with refusals("keys"):
        path = _path(context, state_dir)
        try:
            keys = read_keys(path).keys
        except FileNotFoundError:
            keys = ()
    now = utc_now()
    for line in table([_COLUMNS, *(row_of(key, now=now) for key in keys)]):
        typer.echo(line)
    if not keys:
        typer.echo(f"No keys in {path}: the service asks nobody for one.", err=True)


@keys_app.command(epilog="Example: router-serve keys revoke rk_ab12cd34")
def revoke(context: typer.Context, key_id: KeyId, state_dir: StateDir = None) -> None:
    """Make a key useless, for good; a running service knows within ROUTER_RELOAD_POLL_S."""
    with refusals("keys"):
        key = keys_file.revoke(_path(context, state_dir), id_of(key_id), now=utc_now())
    typer.echo(f"{key.id} of tenant {key.tenant} is revoked.", err=True)


@keys_app.command(epilog="Example: router-serve keys rotate rk_ab12cd34 --grace 24h")
def rotate(
    context: typer.Context,
    key_id: KeyId,
    grace: Annotated[
        str, typer.Option(help="Time the old key is still good for, such as 24h; 0s ends it now.")
    ] = "24h",
    state_dir: StateDir = None,
) -> None:
    """Make a key with the same rights, print it, and let the old one expire."""
    leeway = duration_of(grace, "--grace")
    with refusals("keys"):
        old_id = id_of(key_id)
        made = keys_file.rotate(_path(context, state_dir), old_id, now=utc_now(), grace=leeway)
    _tell(made)
    typer.echo(f"It follows {old_id}, which is good for {grace} more at most.", err=True)


def scopes_of(text: str) -> tuple[Scope, ...]:
    """The scopes in a comma-separated list; typer.BadParameter for anything else.

    >>> scopes_of("route, outcomes")
    ('route', 'outcomes')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or (unknown := [name for name in names if name not in SCOPES]):
        shown = unknown[0] if names else text
        raise typer.BadParameter(
            f"--scopes: got {shown!r}, expected a comma-separated list of {', '.join(SCOPES)}"
        )
    return tuple(cast(Scope, name) for name in names)


def duration_of(text: str, option: str) -> timedelta:
    """A length of time such as 90d; typer.BadParameter names the option that is something else.

    >>> duration_of("36h", "--grace")
    datetime.timedelta(days=1, seconds=43200)
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    length = None if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})
    if length is None or length > _LONGEST:
        raise typer.BadParameter(
            f"{option}: got {text!r}, expected a number and one of s, m, h, d or w, at most 36500d"
        )
    return length


def id_of(text: str) -> str:
    """The id in what was typed: also of a whole key, as somebody has it who found it somewhere.

    >>> id_of("ab12cd34"), id_of("rk_ab12cd34_and-its-secret")
    ('rk_ab12cd34', 'rk_ab12cd34')
    """
    return f"rk_{text.removeprefix('rk_')[:8]}"


def row_of(key: Key, *, now: datetime) -> tuple[str, ...]:
    """What `list` shows of a key."""
    state = key.state(now) + (f", now {key.replaced_by}" if key.replaced_by else "")
    expires = "-" if key.expires is None else f"{key.expires:%Y-%m-%d %H:%MZ}"
    created = f"{key.created:%Y-%m-%d %H:%MZ}"
    return key.id, key.name or "-", key.tenant, ",".join(key.scopes), created, expires, state


def table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """The rows as lines with aligned columns.

    >>> list(table([("A", "B"), ("long", "c")]))
    ['A     B', 'long  c']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _tell(made: NewKey) -> None:
    """The key to stdout, so that it can be piped; what there is to say of it to stderr."""
    key = made.key
    until = "without end" if key.expires is None else f"until {key.expires:%Y-%m-%d %H:%MZ}"
    typer.echo(
        f"Key {key.id} for tenant {key.tenant}, scopes {','.join(key.scopes)}, good {until}. It is "
        "shown this once; send it as x-router-api-key, or Authorization: Bearer.",
        err=True,
    )
    typer.echo(made.text)


def _path(context: typer.Context, state_dir: Path | None) -> Path:
    return keys_path(settings_in(context, state_dir))
