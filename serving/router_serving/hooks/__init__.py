"""Endpoints in the shapes that gateways dictate."""
