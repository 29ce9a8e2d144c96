"""What the router itself costs, which every saving is net of."""

ROUTER_COST_USD = 1e-7
"""US dollars a decision: 2.6 ms of one core for a 40 KB body (README), as much again for its row
and outcome in the log, at 0.05 US dollars per core and hour, rounded up."""
