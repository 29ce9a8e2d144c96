import re
from pathlib import Path

import pytest
from paths import REPO
from typer.main import get_command

from router_data.cli import app as data_app
from router_training.cli import app as train_app

READMES = sorted(
    path
    for path in REPO.rglob("README.md")
    if not {".venv", ".gateways", "node_modules", "var"} & set(path.parts)
)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def commands(app: object) -> set[str]:
    command = get_command(app)  # type: ignore[arg-type] # three typer apps of one kind
    return set(getattr(command, "commands", {}))


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_python_blocks_of_a_readme_run(path: Path) -> None:
    for source in blocks(path, "python"):
        exec(compile(source, str(path), "exec"), {"__name__": "__readme__"})


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_commands_in_a_readme_exist(path: Path) -> None:
    known = {"router-train": commands(train_app), "router-data": commands(data_app)}
    for block in blocks(path, "bash"):
        for program, word in re.findall(r"^(router-train|router-data) ([a-z-]+)", block, re.M):
            assert word in known[program], f"{path.name}: {program} {word}"


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_links_to_files_of_a_readme_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path}: {target}"
