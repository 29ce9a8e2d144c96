"""`python -m router_serving`: the same as `router-serve`."""

from router_serving.cli import app

if __name__ == "__main__":
    app(prog_name="router-serve")
