"""Start the command `python -m router_bench`."""

from router_bench.cli import app

app()
