"""The trials, one a module; each has `run(scale, folder)`."""
