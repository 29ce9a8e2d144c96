"""Policies as Python: the caller's own code may fail in any way, and is told where."""

from pathlib import Path

import numpy as np
import pytest
from logged_samples import uniform_log

from router_training.policy_files import load_policy
from router_training.target_policies import PolicyError, distribution_of

LOG = uniform_log(20)


def mine(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


# Exceptions of the caller's own code came out as tracebacks, `raise SystemExit(0)` as success.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def policy(d) return", "mine.py: SyntaxError"),
        ("import nothing_here\n", "mine.py: ModuleNotFoundError.*mine.py, line 1"),
        ("raise SystemExit(0)\n", "mine.py: SystemExit"),
    ],
)
def test_a_python_file_that_fails_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        load_policy(mine(tmp_path, text))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("decision.nothing", "AttributeError.*mine.py, line 2"),
        ("decision.candidates['x']", "KeyError"),
        ("decision.feature('x')", "no feature is called 'x'"),
        ("exit()", "SystemExit"),
    ],
)
def test_a_function_that_fails_names_the_decision(tmp_path: Path, body: str, message: str) -> None:
    text = f"def policy(decision):\n    return {body}\n"
    policy = load_policy(mine(tmp_path, text))
    with pytest.raises(PolicyError, match=f"mine: decision {LOG.decision_id[0]}: .*{message}"):
        distribution_of(policy, LOG)


def test_numpy_numbers_are_probabilities(tmp_path: Path) -> None:
    text = """
import numpy as np

def policy(decision):
    return dict.fromkeys(decision.candidates, np.float32(1 / len(decision.candidates)))
"""
    table = distribution_of(load_policy(mine(tmp_path, text)), LOG)
    np.testing.assert_allclose(table[LOG.candidates], 0.25)
