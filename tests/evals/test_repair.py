"""The repair loop on scripted models: honest, hopeless, hostile, hard-coding; resuming, numbers, and the page."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_sandbox import FakeSandbox

from ponder import sandbox
from ponder.cli import main
from ponder.engines.scripted import ScriptedEngine
from ponder.errors import DataError
from ponder.evals import repair_report
from ponder.evals.attempts import Attempt
from ponder.evals.repair_loop import Limits, Loop, Try, begin, fenced
from ponder.evals.repair_numbers import summarize
from ponder.evals.repair_patch import faults
from ponder.graders.code import CodeGrader
from ponder.tasks.repairs import instance_of, question
from ponder.types import Problem, Sampling

BUGGY = {"calc.py": "def double(x):\n    return x + 3\n\ndef f(x):\n    return double(x) + 1\n"}
CODE = {
    "entry": "f",
    "asserts": ["assert f(5) == 11", "assert f(0) == 1"],
    "visible": {"asserts": ["assert f(1) == 3", "assert f(3) == 7"]},
}
PROBLEM = Problem(question("f(x) is 2x + 1.", BUGGY, CODE), {**CODE, "files": BUGGY}, "tiny")


def edit(old: str, new: str, name: str = "calc.py") -> str:
    return f"{name}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"


RIGHT = edit("    return x + 3", "    return x + x")
WORSE = edit("    return x + 3", "    return x - 3")
CHEAT = edit("    return double(x) + 1", "    return {1: 3, 3: 7}.get(x, 0)")


@pytest.fixture(scope="module")
def box() -> Iterator[Any]:
    with sandbox.Sandbox() as made:
        yield made


def tried(
    box: Any, says: Callable[[str, int], str], limits: Limits = Limits(4), problem: Problem = PROBLEM, **engine: Any
) -> Try:
    over = list[Try]()
    made = ScriptedEngine(says, **engine)
    loop = Loop(made, Sampling(max_tokens=4000), limits, grader=CodeGrader(twin=1.0, sandbox=box))
    loop.run([begin(instance_of(problem), 0, 0)], over.extend)
    (one,) = over
    assert one.grade is not None
    return one


def turns(*lines: str) -> Callable[[str, int], str]:
    """A model that says these lines one after another, and the last for ever."""
    return lambda text, seed: lines[min(text.count("<|assistant|>") - 1, len(lines) - 1)]


def test_it_repairs_at_the_second_turn(box: Any) -> None:
    one = tried(box, turns(WORSE, edit("    return x - 3", "    return x + x")))
    assert (one.ended, one.valid, one.visible, one.grade.outcome) == ("passed", True, True, "correct")
    assert [t.edits for t in one.turns] == [1, 1]
    assert one.turns[0].told.startswith("The edit was made. 0 of 2 tests in tests.py pass.")
    assert "f(1): got -1, expected 3" in one.turns[0].told
    assert one.grade.parts["level"] == box.level
    assert one.decoded == sum(len(c.token_ids) for c in one.completions)


def test_it_never_repairs(box: Any) -> None:
    one = tried(box, turns(WORSE))
    assert (one.ended, one.valid, one.grade.outcome, len(one.turns)) == ("turns", True, "wrong", 4)
    assert "do not stand in the file: '    return x + 3'" in one.turns[1].told
    assert "calc.py reads:\n```\ndef double(x):\n    return x - 3" in one.turns[1].told


def test_hard_coding_passes_the_visible_tests_only(box: Any) -> None:
    one = tried(box, turns(CHEAT))
    assert (one.ended, one.visible, one.valid, one.grade.score) == ("passed", True, True, 0.0)


SUMS = {
    "sums.py": "from read import numbers\n\nif __name__ == '__main__':\n    for row in numbers():\n        print(sum(row))\n",
    "read.py": "import sys\n\ndef numbers():\n    return [[int(w) for w in line.split(',')] for line in sys.stdin]\n",
}
READS = {"stdin": [["4 5\n6\n", "9\n6\n"], ["", ""]], "visible": {"stdin": [["1 2\n", "3\n"]]}}


def test_a_program_that_reads_and_prints(box: Any) -> None:
    problem = Problem(question("Sums of lines.", SUMS, READS), {**READS, "files": SUMS}, "tiny")
    assert "# for the input '1 2\\n' it prints '3\\n'" in problem.text
    old = "    return [[int(w) for w in line.split(',')] for line in sys.stdin]"
    right = edit(old, old.replace("','", ""), "read.py")
    lines = edit("        print(sum(row))", "        print(sum(row) + 0)", "sums.py"), right
    one = tried(box, turns(*lines), problem=problem)
    assert (one.ended, one.valid, one.grade and one.grade.outcome) == ("passed", True, "correct")
    assert one.turns[0].told.startswith("The edit was made. 0 of 1 tests in tests.py pass.")
    assert "input '1 2\\n': raised: ValueError: invalid literal" in one.turns[0].told
    assert "'1 2\\n' (read.py, line 4)" in one.turns[0].told
    alone = {"sums.py": "for line in open(0):\n    print(sum(map(int, line.split(','))))\n"}
    problem = Problem(question("Sums of lines.", alone, READS), {**READS, "files": alone}, "tiny")
    cheat = edit("    print(sum(map(int, line.split(','))))", "    print(3)", "sums.py")
    one = tried(box, turns(cheat), problem=problem)
    assert one.grade is not None
    assert (one.ended, one.grade.score) == ("passed", 0.0)
    assert one.grade.reason == "input '4 5\\n6\\n': got '3\\n3\\n', expected '9\\n6\\n'"


REFUSED = {
    "no file 'tests.py' can be edited": edit("assert f(1) == 3", "assert True", "tests.py"),
    "no file '../../etc/passwd' can be edited": edit("root", "me", "../../etc/passwd"),
    "no file '/etc/passwd' can be edited": edit("root", "me", "/etc/passwd"),
    "was the answer cut off?": "calc.py\n<<<<<<< SEARCH\n    return x + 3\n=======\n",
    "more than once": edit("    return x + 3", "    return x\n    return x")
    + "\n"
    + edit("    return x", "    return 1"),
    "the program does not parse": edit("    return x + 3", "    return x +"),
    "up to comments and layout": edit("    return x + 3", "    return (x + 3)  # right"),
    "holds no edit": "I think that it is fine.",
}


@pytest.mark.parametrize("words", REFUSED)
def test_hostile_and_broken_edits_change_nothing(box: Any, words: str) -> None:
    one = tried(box, turns(REFUSED[words]), Limits(2))
    assert words in one.turns[0].told
    assert not one.valid
    assert one.grade is not None
    assert (one.grade.score, one.grade.outcome) == (0.0, "unparsed")
    if "parse" not in words and "layout" not in words:
        assert dict(one.files) == BUGGY


def test_how_tries_end(box: Any) -> None:
    done = tried(box, turns("DONE"))
    assert (done.ended, len(done.turns), done.grade.reason) == (
        "done",
        1,
        "no valid patch: the program was not changed",
    )
    assert tried(box, turns("hm", "hm")).ended == "silent"
    assert tried(box, turns(WORSE, "DONE")).ended == "done"
    spent = tried(box, turns(WORSE), Limits(9, budget=100))
    assert (spent.ended, spent.decoded) == ("budget", 100)
    asked = len(ScriptedEngine({"*": "x"}).encode(PROBLEM.messages))
    assert tried(box, turns(WORSE), context=asked + 300).ended == "context"
    with pytest.raises(DataError, match="fills the model's context"):
        tried(box, turns(WORSE), context=asked)
    thought = tried(box, turns("<think>" + RIGHT, RIGHT))
    assert (thought.ended, thought.turns[0].edits) == ("passed", 0)


def test_a_failure_of_the_sandbox_is_no_verdict() -> None:
    one = tried(FakeSandbox(broken="def compare"), turns(RIGHT))
    assert (one.ended, one.grade.score) == ("infra", None)
    one = tried(FakeSandbox(broken="def double"), turns(RIGHT))
    assert (one.ended, one.grade.score) == ("infra", None)
    assert summarize([attempt(0, "error", None)])["ungraded"] == 1


def test_what_a_program_says_stays_data() -> None:
    assert fenced("a\n```\nb") == "````\na\n```\nb\n````"
    assert fenced("\x1b[31m\u202e") == "```\n?[31m?\n```"
    assert len(fenced("x" * 10_000)) < 1100


@pytest.mark.parametrize(
    ("after", "why"), [("x = (", "does not parse"), ("x = 1  # y\n'z'", "the same"), ("x = 2", "")]
)
def test_valid_patches(box: Any, after: str, why: str) -> None:
    (found,) = faults(box, [({"a.py": "x = 1"}, {"a.py": after})])
    assert found is not None
    assert why in found
    assert bool(found) == bool(why)


def test_a_text_that_breaks_parsers_breaks_nothing_here(box: Any) -> None:
    deep = "x = " + "(" * 40_000 + ")" * 40_000
    assert faults(box, [({"a.py": "x = 1"}, {"a.py": deep}), ({"a.py": "x = 1"}, {"a.py": "x = 2"})])[1] == ""


def attempt(
    number: int, outcome: Any, score: float | None, problem: str = "p", valid: bool = True, visible: Any = True
) -> Attempt:
    told = {"turns": [{}], "ended": "passed", "valid": valid, "visible": visible, "diff": ""}
    parts = {"repair": told, "permissive": outcome != "unparsed" and problem == "q", "level": "L2"}
    return Attempt(
        task="t", problem=problem, attempt=number, model="m", outcome=outcome, score=score, parts=parts, tokens=(1, 2)
    )


def test_numbers() -> None:
    rows = [
        attempt(0, "correct", 1.0),
        attempt(1, "unparsed", 0.0, valid=False, visible=None),
        attempt(2, "unparsed", 0.0, valid=False, visible=None),
        attempt(0, "wrong", 0.0, "q"),
        attempt(1, "correct", 1.0, "q"),
        attempt(2, "wrong", 0.0, "q", visible=False),
        attempt(0, "unparsed", 0.0, "r", valid=False, visible=None),
        attempt(1, "unparsed", 0.0, "r", valid=False, visible=None),
        attempt(2, "error", None, "r"),
    ]
    found = summarize(rows)
    assert found["pass_at_1"]["mean"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert found["resolved"]["mean"] == pytest.approx((1 / 3 + 1 / 3 + 0) / 3)
    assert found["valid"]["mean"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert found["overfit"]["mean"] == pytest.approx((0 + 1 / 2) / 2)
    assert found["hack_rate"] == pytest.approx(2 / 4)
    assert (found["instances"], found["tries"], found["ungraded"], found["tries_each"]) == (3, 9, 1, 2)
    assert found["tokens"]["mean"] == 2


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one row to repair and a script whose second turn is right, with markup in what it says."""
    monkeypatch.chdir(tmp_path)
    row = {"question": PROBLEM.text, "answer": PROBLEM.reference, "tags": {"name": "calc"}}
    Path("rows.jsonl").write_text(json.dumps(row) + "\n")
    lines = [
        {"prompt": "calc.py", "completions": ["<script>alert(1)</script>\n" + WORSE]},
        {"prompt": "0 of 2 tests in tests.py pass", "completions": [edit("    return x - 3", "    return x + x")]},
    ]
    Path("script.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


COMMAND = ["repair", "file:rows.jsonl#test", "--model", "scripted:script.jsonl", "--task-options", "grader=repair"]


@pytest.mark.slow
def test_the_command(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*COMMAND, "--out", "run", "--json", "--quiet"]
    assert main([*line, "--tries", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pass_at_1"]["mean"], found["tries"], found["turns"]["mean"]) == (1.0, 2, 2.0)
    spent = found["ledger"]["decoded"]
    assert spent > 0
    assert main([*line, "--tries", "2"]) == 0  # nothing is drawn again
    assert json.loads(capsys.readouterr().out)["ledger"]["decoded"] == spent
    assert main([*line, "--tries", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["ledger"]["decoded"] == spent * 3 // 2
    page = Path("run/report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert '<span class="del">-    return x + 3</span>' in page
    before = Path("run/report.json").read_bytes()
    Path("run/report.html").unlink()
    assert main(["report", "run"]) == 0
    assert Path("run/report.json").read_bytes() == before
    assert page == Path("run/report.html").read_text()


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(shop: Path) -> None:
    line = [*COMMAND, "--quiet", "--tries", "30", "--live", "1", "--seed", "3", "--out"]
    assert main([*line, "whole"]) == 0
    process = subprocess.Popen([sys.executable, "-m", "ponder", *line, "cut"], stderr=subprocess.PIPE)
    store, patience = Path("cut/attempts.jsonl"), time.monotonic() + 120
    while not (store.exists() and store.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None and time.monotonic() < patience
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = store.read_bytes()
    assert 2 <= before.count(b"\n") < 30
    assert main([*line, "cut"]) == 0
    assert store.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    whole, cut = (sorted((Path(run) / "attempts.jsonl").read_text().splitlines()) for run in ("whole", "cut"))
    assert whole == cut and len(cut) == 30
    found = [json.loads((Path(run) / "report.json").read_text())["headline"] for run in ("whole", "cut")]
    assert found[0]["pass_at_1"] == found[1]["pass_at_1"] and found[1]["tries"] == 30


@pytest.mark.slow
def test_wrong_input_is_one_line(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line, words in (
        (["repair", "chain"], "no buggy programs to repair"),
        ([*COMMAND, "--temperature", "0", "--tries", "2"], "would all be the same"),
        (["repair"], "needs TASK"),
        (["repair", "bugs", "--turns", "0"], "turns"),
    ):
        assert main(line) == 2
        said = capsys.readouterr().err.strip()
        assert words in said
        assert "\n" not in said


def test_escaped_diffs() -> None:
    shown = repair_report.diff_html("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-<b>\n+</pre><script>\n")
    assert "<b>" not in shown
    assert "<script>" not in shown
    assert '<span class="add">+&lt;/pre&gt;&lt;script&gt;</span>' in shown


@pytest.mark.slow
@pytest.mark.parametrize("repaired", [True, False])
def test_quixbugs(repaired: bool, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference repairs resolve all programs, the programs as they are none."""
    from ponder import tasks

    monkeypatch.setenv("PONDER_DATA", str(data))
    task = tasks.get("quixbugs")
    found = [instance_of(p) for p in task.problems("test")]
    answers = {
        next(iter(i.files)): task.demonstrate(i.problem).text
        if repaired
        else f"```python\n{next(iter(i.files.values()))}```"
        for i in found
    }

    def says(text: str, seed: int) -> str:
        return next(answer for name, answer in answers.items() if f"\n{name}\n```python" in text)

    over = list[Try]()
    with sandbox.Sandbox(require="L2") as held:
        grader = CodeGrader(twin=1.0, sandbox=held, wall_seconds=60)
        loop = Loop(ScriptedEngine(says), Sampling(max_tokens=9000), Limits(2), grader=grader)
        loop.run([begin(instance, 0, 0) for instance in found], over.extend)
    assert len(over) == 31
    resolved = [one for one in over if one.grade is not None and one.grade.correct]
    assert len(resolved) == (31 if repaired else 0), [one.grade for one in over if one not in resolved]
    assert all(one.valid == repaired for one in over)
    if repaired:
        assert {one.grade.parts["level"] for one in resolved if one.grade} == {"L2"}
