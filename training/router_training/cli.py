"""`router-train`: train, evaluate, promote, export, roll back.

Exit codes: 0 ok, 1 a check failed or the data can't be used, 2 wrong usage.
"""

from router_training.commands import evaluate, promote, run
from router_training.commands.shared import app

__all__ = ["app", "evaluate", "promote", "run"]
