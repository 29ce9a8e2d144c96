import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routers import grown

from router_model.errors import ArtifactError
from router_model.tree_text import check_tree_text
from router_model.trees import Trees

SOUND = grown(6, n_trees=4).model_to_string()


def refitted(text: str) -> str:
    """The text with sizes that fit its trees again, as a careful forger would write it."""
    body = text.split("\n\n", 1)[1].split("end of trees")[0]
    trees = re.findall(r"Tree=.*?\n\n\n", body, flags=re.S)
    return re.sub("tree_sizes=.*", "tree_sizes=" + " ".join(str(len(t)) for t in trees), text)


def test_what_lightgbm_writes_passes() -> None:
    check_tree_text(SOUND)
    assert refitted(SOUND) == SOUND


def test_a_tree_of_one_leaf_passes() -> None:
    rows = np.zeros((100, 3))
    options = {"objective": "cross_entropy", "verbose": -1}
    flat = lightgbm.train(options, lightgbm.Dataset(rows, np.full(100, 0.3)), num_boost_round=2)
    check_tree_text(flat.model_to_string())


@pytest.mark.parametrize(
    ("pattern", "by", "said"),
    [
        (r"left_child=-?\d+", "left_child=77", "every node and leaf once"),
        (r"left_child=\S+ \S+", "left_child=0 0", "every node and leaf once"),
        (r"split_feature=\d+", "split_feature=6", "expected 0 to 5"),
        (r"split_feature=\d+", "split_feature=-1", "expected 0 to 5"),
        (r"num_leaves=\d+", "num_leaves=5", "expected"),
        (r"num_leaves=\d+", "num_leaves=999999999", "expected 1 to"),
        (r"leaf_value=\S+", "leaf_value=nan", "expected numbers"),
        (r"leaf_value=\S+", "leaf_value=1e999", "finite"),
        (r"threshold=\S+", "threshold=x", "threshold"),
        (r"threshold=\S+ ", "threshold=", "threshold"),
        (r"decision_type=\d+", "decision_type=1", "numerical splits"),
        (r"decision_type=\d+", "decision_type=14", "numerical splits"),
        (r"num_cat=0", "num_cat=1", "num_cat"),
        (r"is_linear=0", "is_linear=1", "is_linear"),
        (r"shrinkage=\S+", "shrinkage=1 1", "shrinkage"),
        (r"max_feature_idx=5", "max_feature_idx=6", "feature_names"),
        (r"max_feature_idx=5", "max_feature_idx=999999999", "max_feature_idx"),
        (r"num_class=1", "num_class=3", "num_class"),
        (r"tree_sizes=\d+ ", "tree_sizes=", "size"),
        (r"tree_sizes=\d+", "tree_sizes=-1", "tree_sizes"),
        (r"is_linear=0", "is_linear=0\nis_linear=0", "unexpected line"),
        (r"version=v4", "version=v4\nextra=1", "unexpected line"),
        (r"end of trees", "end of threes", "tree_sizes do not lead"),
        (r"parameters:", "parameters:\x00", "unexpected lines"),
        (r"\[boosting: gbdt\]", "[boosting gbdt]", "unexpected lines"),
        (r"end of parameters", "end", "unexpected lines"),
    ],
)
def test_what_lightgbm_would_not_have_written_is_named(pattern: str, by: str, said: str) -> None:
    text = re.sub(pattern, by, SOUND, count=1)
    assert text != SOUND
    with pytest.raises(ArtifactError, match=said):
        check_tree_text(text if by.startswith("tree_sizes") else refitted(text))


def test_a_node_can_not_come_before_its_parent() -> None:
    # Two nodes that lead to each other score a row for ever.
    tree = re.search(r"left_child=(.*)\nright_child=(.*)", SOUND)
    assert tree is not None
    n = len(tree[1].split())
    left = " ".join(str(child) for child in ([-1, 2, 1] + [-2] * n)[:n])
    right = " ".join(str(child) for child in [*range(-3, -3 - n, -1)])
    text = SOUND.replace(tree[0], f"left_child={left}\nright_child={right}", 1)
    with pytest.raises(ArtifactError, match=r"before its parent|once"):
        check_tree_text(refitted(text))


@given(st.text(max_size=200))
def test_any_text_is_refused_by_our_own_error(text: str) -> None:
    with pytest.raises(ArtifactError):
        check_tree_text(text)


def test_a_file_is_checked_before_lightgbm_reads_it(tmp_path: Path) -> None:
    (tmp_path / "trees.txt").write_text(SOUND.replace("tree_sizes=", "tree_sizes=9", 1))
    with pytest.raises(ArtifactError, match="size"):
        Trees.load(tmp_path / "trees.txt")


CHILD = """
import sys
import numpy as np
from router_model.errors import ArtifactError
from router_model.trees import Trees
rows = np.random.default_rng(0).normal(size=(50, 6))
for text in sys.stdin.read().split("\\0"):
    try:
        trees = Trees(text)
    except ArtifactError:
        continue
    if trees.n_columns == 6:
        trees.score(rows)
        trees.contributions(rows)
print("alive")
"""


def test_no_damaged_text_that_passes_crashes_lightgbm() -> None:
    # 74 of 120 damaged files crashed LightGBM's loader when it read them unchecked.
    rng = Random(7)
    passed = [text for text in (_damaged(rng) for _ in range(3000)) if _passes(text)]
    assert len(passed) > 100
    run = subprocess.run(
        [sys.executable, "-c", CHILD],
        input="\0".join(passed),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.endswith("alive\n"), (run.returncode, run.stderr[-500:])


def _passes(text: str) -> bool:
    try:
        check_tree_text(text)
    except ArtifactError:
        return False
    return True


def _damaged(rng: Random) -> str:
    data = bytearray(SOUND.encode())
    damage: Callable[[int], None] = rng.choice(
        (
            lambda at: data.__setitem__(at, rng.choice(b"0123456789-. =\n")),
            lambda at: data.__setitem__(at, data[at] ^ (1 << rng.randrange(7))),
            lambda at: data.__delitem__(slice(at, at + rng.randrange(1, 40))),
        )
    )
    for _ in range(rng.choice((1, 1, 2, 5))):
        damage(rng.randrange(len(data)))
    text = data.decode("utf-8", "replace")
    return refitted(text) if rng.random() < 0.5 else text
