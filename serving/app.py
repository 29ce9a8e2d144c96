"""Entry point for ASGI servers: `uvicorn --factory serving.app:create_app`."""

from router_serving.app import create_app

__all__ = ["create_app"]
