"""Start the command `python -m router_battery`."""

from router_battery.cli import app

app()
