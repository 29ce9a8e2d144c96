"""Faults done to a running service on purpose: `python -m router_battery`."""
