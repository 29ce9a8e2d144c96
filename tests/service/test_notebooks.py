"""The notebooks run from an empty kernel, and are committed without what they print."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from paths import REPO
from serving_process import requires_starter

_EXTRA = "install the extra `notebooks`"
nbformat = pytest.importorskip("nbformat", reason=_EXTRA)

FOLDER = REPO / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
MAX_FUNCTION_LINES = 5
MAX_CELL_LINES = 30
CELL_TIMEOUT_S = 120
OWN_DATA = ("ROUTER_STATE_DIR", "ROUTER_DATA_DIR", "ROUTER_GATEWAY_LOG")


def read(name: str) -> Any:
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def lonely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with nothing of the user's settings and nothing to download."""
    for name in (*OWN_DATA, "MLFLOW_TRACKING_URI", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.mark.service
@requires_starter
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_the_first_to_the_last_cell(name: str, lonely: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason=_EXTRA)
    pytest.importorskip("ipykernel", reason=_EXTRA)
    notebook = read(name)
    before = set(lonely.iterdir())
    nbclient.NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(lonely)}},
    ).execute()
    assert code_cells(notebook)[-1].outputs, "the last cell shows nothing"
    assert set(lonely.iterdir()) == before, "something was left in the working folder"


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 5


def test_every_notebook_is_introduced_in_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in NOTEBOOKS if f"]({name})" not in readme] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_without_outputs(name: str) -> None:
    for cell in code_cells(read(name)):
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_begins_with_what_the_reader_learns(name: str) -> None:
    first = read(name).cells[0]
    assert first.cell_type == "markdown"
    assert "You learn" in first.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_holds_no_logic(name: str) -> None:
    for cell in code_cells(read(name)):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef), node.name
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                n_lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert n_lines <= MAX_FUNCTION_LINES, f"{name}: {node.name} has {n_lines} lines"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_code_of_a_cell_fits_a_screen(name: str) -> None:
    for number, cell in enumerate(code_cells(read(name))):
        n_lines = len(cell.source.splitlines())
        assert n_lines <= MAX_CELL_LINES, f"{name}: code cell {number} has {n_lines} lines"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_plot_says_what_it_found_and_names_its_axes(name: str) -> None:
    for cell in code_cells(read(name)):
        if re.search(r"\b(plt|ax(is|es)?|left|right)\.(plot|barh|hist|errorbar)\(", cell.source):
            for part in ("title(", "xlabel("):
                assert part in cell.source, f"{name}: no {part} in\n{cell.source}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_that_simulates_says_so_in_its_figures(name: str) -> None:
    titles = [cell.source for cell in code_cells(read(name)) if re.search(r"title\(", cell.source)]
    assert titles
    for source in titles:
        assert re.search(r"\{note\}|\(simulated\)|at worst", source), source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_names_no_absolute_path(name: str) -> None:
    for cell in code_cells(read(name)):
        assert not re.search(r"""["'](/|~|[A-Z]:\\)""", cell.source), cell.source
