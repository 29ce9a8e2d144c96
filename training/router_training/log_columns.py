"""More columns of the log beside those of `LoggedDecisions`, in the same order."""

import numpy as np

from router_data.logged import LoggedDecisions
from router_data.store import Columns
from router_training.changes import Ints


def aligned(columns: Columns, logged: LoggedDecisions) -> Columns:
    """Columns with `tenant` and `decision_id`, brought into the order of the decisions."""
    keys = zip(columns["tenant"].tolist(), columns["decision_id"].tolist(), strict=True)
    place = {key: index for index, key in enumerate(keys)}
    wanted = zip(logged.tenant.tolist(), logged.decision_id.tolist(), strict=True)
    order = np.array([place[key] for key in wanted], dtype=np.int64)
    return {name: values[order] for name, values in columns.items()}


def session_numbers(logged: LoggedDecisions) -> Ints:
    """The number of each decision's session, from zero; tenants share none."""
    known: dict[tuple[str, str], int] = {}
    pairs = zip(logged.tenant.tolist(), logged.session.tolist(), strict=True)
    return np.array([known.setdefault(pair, len(known)) for pair in pairs], dtype=np.int64)
