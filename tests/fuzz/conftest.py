# Fuzzing is run by hand: it needs a package that no extra installs.
collect_ignore = ["parsers.py"]
