"""`router-train`: train, evaluate, promote, watch, export, roll back.

Exit codes: 0 ok, 1 a check failed or the data can't be used, 2 wrong usage.
"""

from router_training.commands import (
    drift,
    evaluate,
    forecast,
    partial,
    promote,
    replay,
    rollout,
    run,
    savings,
    watch,
)
from router_training.commands.shared import app

__all__ = [
    "app",
    "drift",
    "evaluate",
    "forecast",
    "partial",
    "promote",
    "replay",
    "rollout",
    "run",
    "savings",
    "watch",
]
