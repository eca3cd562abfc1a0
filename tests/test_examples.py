"""The examples run as they stand, and the Python blocks of the documents are Python that names what exists."""

from __future__ import annotations

import ast
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ponder
from ponder.engines.load import WEIGHTS


def run(root: Path, name: str, *words: str) -> str:
    command = [sys.executable, str(root / "examples" / name), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout


def test_grading(root: Path) -> None:
    out = run(root, "grade_answers.py")
    assert re.search(r"x\^2-1 +\(x-1\)\(x\+1\) +True", out)
    assert re.search(r"__import__.* None", out)
    assert [line.split()[0] for line in out.split("grade against 1/2\n")[1].splitlines()[:5]] == [
        "correct", "wrong", "unparsed", "unparsed", "correct",
    ]  # fmt: skip


@pytest.mark.slow
def test_repairing(root: Path) -> None:
    out = run(root, "repair_a_bug.py")
    assert re.findall(r"ended: passed; all tests: (\w+)", out) == ["correct", "wrong"]
    assert "+    return (f - 32) * 5 / 9\n" in out


@pytest.mark.slow
def test_a_process_verifier_beside_guesses(root: Path, tmp_path: Path) -> None:
    from ponder import tasks
    from ponder.models import ModelConfig, Transformer, heads
    from ponder.text import Tokenizer
    from ponder.verifiers import samples
    from ponder.verifiers.labels.mutation import Counts, Recipe, Reference, rows

    def knows(right: set[str]) -> Any:
        return lambda trials: [ast.dump(ast.parse(trial.program)) in right for trial in trials]

    task, tokenizer = tasks.get("synthesis"), Tokenizer.mini()
    for split, problems in (("train", 30), ("dev", 20)):
        shown = [task.demonstrate(p, "low", random.Random(0)) for p in task.problems(split, problems)]
        references = [found for d in shown if (found := Reference.of(d)) is not None]
        made = rows(
            references, knows({ast.dump(ast.parse(r.program)) for r in references}), Recipe(mutants=3), Counts()
        )
        samples.write(tmp_path / split, made)
    sizes: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2, "kv_heads": 1, "hidden": 48, "context": 384}
    model = heads.HeadedModel(Transformer(ModelConfig(tokenizer.vocab_size, **sizes), 0), seed=0)
    about = {"verifier": {"kind": "process", "semantics": "correctness"}}
    heads.save(model, tmp_path / "verifier", tokenizer, about)
    out = run(root, "code_process.py", *(str(tmp_path / name) for name in ("verifier", "train", "dev")))
    found = {line[:20].strip(): float(line[20:26]) for line in out.splitlines()[2:]}
    assert list(found) == ["position", "position and length", "verifier"]
    assert 0.6 < found["position"] < 1.0 and 0.2 < found["verifier"] < 0.8  # nothing was learned


@pytest.mark.slow
def test_flat_grpo_learns(root: Path) -> None:
    out = run(root, "train_tiny_grpo.py")
    before, after = (float(x) for x in re.findall(r"(?:cold start|GRPO) +([\d.]+)%", out))
    assert after > before + 20


@pytest.mark.slow
@pytest.mark.skipif(not (WEIGHTS / "mini").is_dir(), reason="the weights of 'mini' are not part of this checkout")
def test_voting(root: Path) -> None:
    rows = re.findall(r"^ +(\d+) +([\d.]+)% +([\d.]+)%$", run(root, "sample_and_vote.py"), re.MULTILINE)
    assert [int(k) for k, _, _ in rows] == [1, 2, 4, 8, 16]
    passed = [float(p) for _, p, _ in rows]
    assert passed == sorted(passed)


@pytest.mark.slow
@pytest.mark.skipif(
    not (WEIGHTS / "mini-base").is_dir(), reason="the weights of 'mini-base' are not part of this checkout"
)
def test_verifying_and_searching(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(root / "examples" / "verify_and_search.py"), "--quick", "--out", str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    assert re.findall(r"^(best_of_n|particle) +n=(\d+)", out, re.MULTILINE) == [
        ("best_of_n", "64"), ("particle", "8"), ("particle", "16"), ("particle", "32"),
    ]  # fmt: skip
    assert (tmp_path / "four" / "report.html").stat().st_size > 10_000
    assert list((tmp_path / "curves").glob("*.svg"))


def test_every_example_is_tested(root: Path) -> None:
    text = Path(__file__).read_text()
    for file in (root / "examples").glob("*.py"):
        assert file.name in text


def blocks(root: Path) -> list[tuple[str, str]]:
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [(p.name, b) for p in pages for b in re.findall(r"```python\n(.*?)```", p.read_text(), re.DOTALL)]


def test_python_of_the_documents(root: Path) -> None:
    """Each block parses; what it takes from `ponder` exists."""
    found = blocks(root)
    assert len(found) >= 3
    for page, block in found:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ponder":
                assert hasattr(ponder, node.attr), f"{page}: ponder.{node.attr}"
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ponder":
                module = __import__(node.module or "", fromlist=["x"])
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page}: {node.module}.{alias.name}"
