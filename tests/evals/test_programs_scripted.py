"""`ponder eval` on every benchmark of programs, by a scripted engine that answers the references: all of them right."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from ponder.cli import main
from ponder.tasks.named import NAMED

pytestmark = pytest.mark.slow
SOME = 24  # problems of each benchmark


def evaluated(
    folder: Path, name: str, answers: dict[str, str], capsys: pytest.CaptureFixture[str], *more: str
) -> dict[str, Any]:
    script = folder / "script.jsonl"
    rows = [{"prompt": p, "completions": [f"<think>\tknown …</think>{a}"]} for p, a in answers.items()]
    script.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["eval", name, "--model", f"scripted:{script}", "--attempts", "1", "--max-tokens", "8000", *more]
    assert main([*line, "--out", str(folder / "run"), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "quixbugs", "cruxeval"])
def test_references_are_right(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PONDER_DATA", str(data))
    task = NAMED[name]()
    problems = task.problems("test", SOME)
    said = {p.text: f"Answer: {p.reference}" if name == "cruxeval" else task.demonstrate(p).text for p in problems}
    found = evaluated(tmp_path, name, said, capsys, "--limit", str(SOME))
    assert (found["pass_at_1"], found["problems"], found["ungraded"]) == (1.0, SOME, 0), found["outcomes"]


def test_references_of_a_file_in_the_format_of_livecodebench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cases(*pairs: tuple[str, str]) -> str:
        return json.dumps([{"input": given, "output": want, "testtype": "stdin"} for given, want in pairs])

    packed = base64.b64encode(zlib.compress(pickle.dumps(cases(("4\n", "16\n"), ("-3\n", "9\n"))))).decode()
    rows = [
        {
            "question_id": "1", "question_content": "Print the square of n.\n\nInput:\n3\n\nOutput:\n9", "metadata": "{}",
            "public_test_cases": cases(("3\n", "9\n")), "private_test_cases": packed, "difficulty": "easy",
        },
        {
            "question_id": "2", "question_content": "Say « n » twice.", "metadata": json.dumps({"func_name": "twice"}),
            "starter_code": "class Solution:\n\tdef twice(self, n: str) -> str:", "difficulty": "hard",
            "public_test_cases": cases(('"é"', '"éé"')), "private_test_cases": cases(('"漢"', '"漢漢"')),
        },
    ]  # fmt: skip
    file = tmp_path / "lcb.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    right = {
        "Print the square": "```python\nn = int(input())\nif n:\n\tprint(n * n)\n```",
        "Say « n » twice": "```python\nclass Solution:\n\tdef twice(self, n: str) -> str:\n\t\treturn n + n  # « »\n```",
    }
    more = ("--task-options", f"path={file}")
    found = evaluated(tmp_path, "livecodebench", right, capsys, *more)
    assert (found["pass_at_1"], found["problems"]) == (1.0, 2), found["outcomes"]
    wrong = right | {"Print the square": "```python\nprint({3: 9}[int(input())])\n```"}  # what the question shows
    (tmp_path / "other").mkdir()
    assert evaluated(tmp_path / "other", "livecodebench", wrong, capsys, *more)["pass_at_1"] == 0.5
