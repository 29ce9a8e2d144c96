"""Latency of the service beside the least that any server would need; not part of the wheel."""
