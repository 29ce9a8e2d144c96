"""The HTTP service around the router."""
