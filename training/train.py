"""Entry point: `python training/train.py run` is `router-train run`."""

from router_training.cli import app

if __name__ == "__main__":
    app()
