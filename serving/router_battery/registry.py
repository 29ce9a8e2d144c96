"""The trials by name, in the order of running."""

import importlib
from typing import cast

from router_battery.trial import Trial

TRIALS = (
    "kill9",
    "sigterm",
    "hot_swaps",
    "disk_full",
    "slow_connections",
    "overload",
    "api_fuzz",
    "odd_bodies",
    "cap_races",
    "settle_replays",
    "clock_jumps",
    "shared_store",
    "compactor",
    "bit_flips",
    "mutated_artifacts",
    "soak",
)


def trial(name: str) -> Trial:
    """The trial of a name; KeyError for an unknown one."""
    if name not in TRIALS:
        raise KeyError(f"no trial {name!r}, expected one of {', '.join(TRIALS)}")
    return cast(Trial, importlib.import_module(f"router_battery.trials.{name}"))


def summary(name: str) -> str:
    """What the trial does, in a line."""
    return (trial(name).__doc__ or "").strip().partition("\n")[0]
