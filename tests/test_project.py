"""The files around the package agree with each other."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ponder import cli
from ponder.cli.parse import parse

BASE = {"torch", "numpy", "safetensors", "tokenizers", "msgspec", "tyro", "rich", "matplotlib"}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~\[ ;]", requirement, maxsplit=1)[0].lower().replace("-", "_")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


@pytest.fixture
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture
def pins(root: Path) -> dict[str, str]:
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "names and plain versions, nothing local"
    return {name_of(line): line.split("==")[1] for line in lines}


def test_base_install_is_the_eight_packages(project: dict[str, Any]) -> None:
    assert {name_of(requirement) for requirement in project["dependencies"]} == BASE


def test_constraints_pin_what_the_tests_need_within_the_stated_ranges(
    project: dict[str, Any], pins: dict[str, str]
) -> None:
    for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]:
        pin = numbers(pins[name_of(requirement)])
        for sign, bound in re.findall(r"(>=|<)([\d.]+)", requirement):
            assert pin >= numbers(bound) if sign == ">=" else pin < numbers(bound), requirement


def test_decisions_name_every_base_dependency(root: Path) -> None:
    text = (root / "docs/decisions/dependencies.md").read_text()
    assert {row.split("|")[1].strip() for row in text.splitlines() if row.startswith("| ")} >= BASE


def test_make_alone_lists_the_targets(root: Path) -> None:
    text = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  make ([a-z]+) ", text, re.MULTILINE)
    assert {"help", "setup", "quickstart", "test", "check", "bench"} <= set(listed)


def test_links_of_the_documents_lead_somewhere(root: Path) -> None:
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(root)} links to {target}"


def command_lines(root: Path) -> list[str]:
    """Every `ponder …` line in the code blocks of the README and the documentation."""
    lines: list[str] = []
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            lines += [line.split(" # ")[0].removeprefix(".venv/bin/") for line in block.splitlines()]
    return [line for line in lines if line.startswith("ponder ")]


def test_commands_of_the_documents_are_understood(root: Path, tmp_path: Path) -> None:
    """Each one parses as a command line of today; none is run."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("")
    lines = command_lines(root)
    assert len(lines) >= 8
    for line in lines:
        words = [word for word in shlex.split(line)[1:] if word not in cli.SWITCHES]
        own = [str(recipe) if word.endswith(".toml") and not (root / word).exists() else word for word in words]
        name, command, rest = cli.find(own)
        assert command is not None, line
        parse(name, command, rest)
