"""Reads the logs of other gateways and of tracing tools as calls."""
