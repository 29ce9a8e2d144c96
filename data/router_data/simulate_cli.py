"""The command `router-data simulate`."""

import math
from pathlib import Path
from typing import Annotated

import typer

from router_data.agents import simulate_agents
from router_data.simulated_gateway import write_gateway_log
from router_data.simulator import World
from router_data.store import Store
from router_data.traffic import Kept, decision_prefix, log_traffic, router_for
from router_model.artifact import STARTER
from router_model.errors import DatasetError, RouterError
from router_model.terms import NO_TERMS, Exploration, Terms
from router_model.types import PolicyOverrides

_FULL = "full"
_SHARES = {"observe": 0.0, _FULL: 1.0}
_NOT_SIMULATED = """
    select count(*) as n from decisions
    where not starts_with(tenant, 'simulated') or not starts_with(decision_id, 'simulated')
"""
_SAME_SEED = "select count(*) as n from decisions where starts_with(decision_id, ?)"


def simulate_command(
    # Not from ROUTER_STATE_DIR: simulated rows never get into a service's state unasked.
    state: Annotated[Path, typer.Option("--state", help="Folder to log into.")] = Path("demo"),
    sessions: Annotated[int, typer.Option(min=1, help="How many agent sessions.")] = 200,
    tenants: Annotated[int, typer.Option(min=1, help="Over how many tenants they spread.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated world.")] = 0,
    exploration: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Probability shared by near-ties.")
    ] = 0.0,
    floor: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Least probability of each of them.")
    ] = 0.0,
    adoption: Annotated[
        str,
        typer.Option(help="Sessions that are routed: observe (none), a share, or full, as served."),
    ] = _FULL,
    billed: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of calls with a bill; else about 63%."),
    ] = None,
    min_adequacy: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="P(adequate) that every call asks for."),
    ] = None,
    artifact: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Artifact of the router.")
    ] = STARTER,
    gateway_log: Annotated[
        Path | None,
        typer.Option(help="Write a gateway's JSON lines of the same calls here, nothing else."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Log beside rows that are not simulated.")
    ] = False,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show progress bars.")
    ] = True,
) -> None:
    """Log simulated agent sessions, decided by a router; tenants are named simulated-1 and so on.

    With --adoption below full the other sessions keep the dearest model, and the log has what the
    router would have chosen: try `router-train savings` on it. `--adoption observe --billed 1`
    rehearses the first step of an adoption. No row says anything about a real model. A folder
    with rows that are not simulated is refused.

    Example: router-data simulate --state ./demo --sessions 200 --seed 0 --exploration 0.1
    """
    if floor > exploration:
        raise typer.BadParameter(f"--floor: got {floor}, expected at most --exploration")
    share = _share(adoption)
    try:
        world = simulate_agents(sessions, n_tenants=tenants, seed=seed)
        if gateway_log is not None:
            n_lines = write_gateway_log(world, gateway_log, billed=billed)
            typer.echo(f"{n_lines} simulated calls written to {gateway_log}")
            return
        _check_state(state, world, is_forced=force)
        terms = NO_TERMS
        if exploration > 0.0:
            terms = Terms(exploration=Exploration(share=exploration, floor=floor))
        kept = Kept(share, world.models[-1], seed=seed) if share < 1.0 else None
        router = router_for(world, artifact)
        report = log_traffic(
            world,
            state,
            router=router,
            overrides=PolicyOverrides(min_adequacy=min_adequacy),
            terms=terms,
            kept=kept,
            billed=billed,
            progress=progress,
        )
    except RouterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(
        f"{report.n_decisions} simulated decisions in {sessions} sessions logged to {state}, "
        f"{report.n_outcomes} with an outcome; {report.n_refused} without an admissible model"
    )


def _share(adoption: str) -> float:
    """The share of sessions that is routed, by the words and numbers of the served setting."""
    if adoption in _SHARES:
        return _SHARES[adoption]
    try:
        share = float(adoption)
    except ValueError:
        share = math.nan
    if not 0.0 <= share <= 1.0:
        raise typer.BadParameter(
            f"--adoption: got {adoption!r}, expected observe, a share of sessions between 0 and 1, "
            "or full"
        )
    return share


def _check_state(state: Path, world: World, *, is_forced: bool) -> None:
    """Raise where simulated rows would be mixed with real ones, or with others of this seed."""
    if not state.is_dir():
        return
    with Store(state) as store:
        n_others = store.query(_NOT_SIMULATED)[0]["n"]
        n_same = store.query(_SAME_SEED, (f"{decision_prefix(world)}-",))[0]["n"]
    if n_others and not is_forced:
        raise DatasetError(
            f"{state}: holds {n_others} decisions that are not simulated, expected none; take "
            "another folder, or --force"
        )
    if n_same:
        raise DatasetError(
            f"{state}: holds {n_same} decisions simulated with seed {world.seed}, expected "
            "another seed or folder"
        )
