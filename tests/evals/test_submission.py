"""`ponder submit` as its user runs it: a contest with subtasks, answers of others, stored samples, wrong input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ponder import cli
from ponder.evals import submission, submission_problems, submission_report, submission_samples, submission_work
from ponder.evals.submission_settings import SubmitConfig
from ponder.graders.code import CodeGrader
from ponder.sandbox.jobs import Job, Result
from ponder.search import submit_files
from ponder.search.submit import Output, Program, Subtask
from ponder.types import Ledger, Trace

READ = "n = int(input())\na = list(map(int, input().split()))\n"
RUN = READ + "best = run = a[0]\nfor v in a[1:{}]:\n    run = max(v, run + v)\n    best = max(best, run)\nprint(best)"
CUBIC = (
    "best = max(a)\nfor i in range(n):\n    for j in range(i, n):\n        s = 0\n"
    "        for k in range(i, j + 1):\n            s += a[k]\n        best = max(best, s)\nprint(best)"
)
PROGRAMS = {
    "right": RUN.format(""),
    "other right": READ
    + "run, best = 0, -10**9\nfor v in a:\n    run = max(run, 0) + v\n    best = max(best, run)\nprint(best)",
    "off by one": RUN.format(-1),
    "hardcodes": READ + "print({3: 3, 4: 5}[n])",
    "slow": READ + CUBIC,
    "crash": READ + "print(answer)",
    "flood": "while True:\n    print('6')",
    "wrong": READ + "print(sum(a))",
}


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    found = cli.main(["submit", *arguments, "--json", "--quiet"])
    out, err = capsys.readouterr()
    assert found == code, err
    return json.loads(out) if out else {"error": err}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def case(*numbers: int) -> dict[str, str]:
    best = max(sum(numbers[i:j]) for i in range(len(numbers)) for j in range(i + 1, len(numbers) + 1))
    return {"input": f"{len(numbers)}\n{' '.join(map(str, numbers))}\n", "output": f"{best}\n"}


PUBLIC = [case(1, 2, -1), case(4, -6, 5, -2)]
HIDDEN = [case(-3), case(-5, -2), case(2, 2, 2), case(7, -1, 4)]
SEGMENT = {
    "question_id": "segment",
    "question_content": "Print the largest sum of a segment.",
    "time_limit": 0.3,
    "public_test_cases": PUBLIC,
    "private_test_cases": HIDDEN,
}
BULK = {"input": "500\n" + " ".join(["1", "-1"] * 250) + "\n", "output": "1\n"}


@pytest.mark.slow
def test_a_contest_from_sampling_to_the_report(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Programs of known behaviours, two subtasks, generators and validators written by a model, half of them bad."""
    place = root / "examples/contest"
    out = str(tmp_path / "run")
    line = [
        str(place / "problems.jsonl"), "--model", f"scripted:{place / 'programs.jsonl'}", "--tester",
        f"scripted:{place / 'tester.jsonl'}", "--samples", "12",
        "--submissions", "8", "--inputs", "10", "--limit", "1", "--out", out,
    ]  # fmt: skip
    found = said(capsys, *line)
    assert (found["problems"], found["samples"], found["compared"]) == (1, 24, True)
    row = found["rows"][0]
    assert set(row["inputs"]) == {"small", "large"} and min(row["inputs"].values()) >= 5
    assert all(0 < heard < asked == 8 for heard, asked in row["heard"])  # those that always agree or crash are not
    assert row["possible"] == 100 and 0 <= row["points"] <= row["every"] <= 100
    assert found["curve"]["chosen"] == sorted(found["curve"]["chosen"])
    page = Path(found["report"]).read_text()
    assert "<svg" in page and "segment" in page

    Path(found["report"]).unlink()
    assert cli.main(["report", out, "--figure", str(tmp_path / "f.svg"), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["headline"]["score"] == found["score"]
    assert Path(found["report"]).read_text() == page and (tmp_path / "f.svg").read_text().startswith("<svg")
    whole = (tmp_path / "run/report.json").read_bytes()
    for damage, says in ((b"{}", "damaged"), (None, "have not finished")):
        (tmp_path / "run/report.json").unlink()
        if damage is not None:
            (tmp_path / "run/report.json").write_bytes(damage)
        assert cli.main(["report", out, "--quiet"]) and says in capsys.readouterr().err
    (tmp_path / "run/report.json").write_bytes(whole)

    attempts = [json.loads(a) for a in (tmp_path / "run/attempts.jsonl").read_text().splitlines()]
    assert {a["task"] for a in attempts} == {"problems.jsonl, visible tests"}

    ran: list[int] = []
    true_run = submission.Sandbox.run
    monkeypatch.setattr(submission.Sandbox, "run", lambda self, jobs: ran.append(len(jobs)) or true_run(self, jobs))
    again = said(capsys, *line, "--weights.size", "0.5")
    assert sum(ran) == 0 and again["score"]["random"] == found["score"]["random"]

    stored = said(capsys, "--stored", f"{out}/samples.jsonl", "--submissions", "8", "--out", str(tmp_path / "offline"))
    assert stored["rows"][0]["submitted"] == row["submitted"] and stored["score"] == found["score"]


@pytest.mark.slow
def test_answers_of_others_with_every_behaviour(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Selection picks a right program first although wrong ones are more, and the limits hold."""
    problems = write(tmp_path / "problems.jsonl", [{**SEGMENT, "private_test_cases": [*HIDDEN, BULK]}])
    counts = {
        "right": 3,
        "other right": 2,
        "off by one": 4,
        "hardcodes": 4,
        "slow": 2,
        "crash": 2,
        "flood": 1,
        "wrong": 3,
    }
    rows = [
        {"question_id": "segment", "completion": f"```python\n{PROGRAMS[name]}\n# {i}\n```"}
        for name, count in counts.items()
        for i in range(count)
    ] + [{"question_id": "segment", "completion": "<think>endless"}, {"question_id": "unknown", "completion": "x"}]
    generator = tmp_path / "generator.py"
    generator.write_text(
        "import random\ns = int(input())\nrandom.seed(s)\nn = 400 if s % 5 == 0 else random.randint(1, 6)\n"
        "print(n)\nprint(*[random.randint(-9, 9) for _ in range(n)])\n"
    )
    line = [problems, "--stored", write(tmp_path / "answers.jsonl", rows), "--generator", str(generator), "--inputs", "15",
            "--out", str(tmp_path / "run"), "--submissions", "5", "--tune", "5"]  # fmt: skip
    assert "at least 2 problems" in said(capsys, *line, code=2)["error"]
    found = said(capsys, *line[:-2])
    row = found["rows"][0]
    assert (row["samples"], row["kept"], found["without_program"]) == (22, {"all": 15}, 1)
    assert row["reached_at"] == 1 and row["points"] == 1.0
    assert row["random"] == pytest.approx(1 - _none_of(22, 5, 5)) and row["random_kept"] == pytest.approx(
        1 - _none_of(15, 5, 5)
    )
    truth = submit_files.read_problems(tmp_path / "run/samples.jsonl")["segment"].truth
    assert sum(t["all"] for t in truth.values()) == 5  # the slow ones fail the large hidden test
    partial = said(capsys, *line[:-2], "--partial")
    shares = submit_files.read_problems(tmp_path / "run/samples.jsonl")["segment"].truth
    assert {round(t["all"], 2) for t in shares.values()} > {0.0, 1.0} and partial["score"]["chosen"]["mean"] == 1.0


def _none_of(n: int, right: int, k: int) -> float:
    from math import comb

    return comb(n - right, k) / comb(n, k)


@pytest.mark.slow
def test_the_example_rows_of_humaneval(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    problem, samples = data / "code/example_problem.jsonl", data / "code/example_samples.jsonl"
    if not samples.exists():
        pytest.skip("no example rows of HumanEval here")
    found = said(capsys, str(problem), "--stored", str(samples), "--out", str(tmp_path / "run"))
    row = found["rows"][0]
    assert row["samples"] == 6 and row["inputs"] == {"all": 1} and row["points"] == 1.0
    assert (
        row["reached_at"] == 1
    )  # the three that return 1 agree on the empty call; a subprocess, a sleep and input() do not


def stored_rows(right: str = "x") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"part": "all", "problem": "p", "points": 2.0, "inputs": ["i", "j"]}]
    for n, did in enumerate(("xx", "yy", "yy", "y!")):
        outputs = {i: {"status": "error" if d == "!" else "ok", "text": d} for i, d in zip("ij", did, strict=True)}
        rows.append({"id": f"p{n}", "problem": "p", "subtask": "all", "code": f"# {n}", "outputs": outputs,
                     "earned": {"all": float(did[0] == right)}})  # fmt: skip
    return rows


def test_stored_samples_need_nothing_but_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = write(tmp_path / "s.jsonl", stored_rows())
    found = said(capsys, "--stored", file, "--out", str(tmp_path / "run"), "--submissions", "3")
    row = found["rows"][0]
    assert row["submitted"][0] in ("p1", "p2") and row["clusters"] == {"all": 3} and row["inputs"] == {"all": 2}
    assert found["curve"]["random"][0] == pytest.approx(0.25) and found["curve"]["best"] == [1.0] * 3
    assert (row["points"], row["random"], row["every"], row["possible"]) == (2.0, 1.5, 2.0, 2.0)
    text = submission.show(found)
    assert "2 of 2 points" in text and "no interval" not in text and "inf" not in text
    both = [
        *stored_rows(),
        *[{**r, "problem": "q"} | ({"id": f"q{r['id']}"} if "id" in r else {}) for r in stored_rows("y")],
    ]
    tuned = said(capsys, "--stored", write(tmp_path / "t.jsonl", both), "--out", str(tmp_path / "two"), "--tune", "4")
    assert set(tuned["tuned"]["weights"]) == {"size", "errors", "learned", "repeat"} and tuned["problems"] == 2


def test_stored_samples_without_verdicts_are_chosen_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{k: v for k, v in row.items() if k != "earned"} for row in stored_rows()]
    found = said(capsys, "--stored", write(tmp_path / "s.jsonl", rows), "--out", str(tmp_path / "run"))
    assert not found["compared"] and len(found["rows"][0]["submitted"]) == 4 and "random" not in found["score"]
    assert "random" not in submission_report.html(found)


def test_a_sandbox_that_fails_is_no_verdict(tmp_path: Path):
    class Broken:
        def run(self, jobs: list[Job]) -> list[Result]:
            return [Result("infra", error="lost")] * len(jobs)

    contest = submission_problems.read(write(tmp_path / "p.jsonl", [SEGMENT]), "test", 1, 0, {}, 2.0)[0]
    desk = submission_work.Desk(SubmitConfig(), tmp_path, Broken())  # type: ignore[arg-type]
    programs = [Program("1", "all", PROGRAMS["right"], (True,)), Program("2", "all", "")]
    assert submission_work.judged(contest, programs, desk) == {"2": {"all": 0.0}}
    assert desk.notes["judged"].known == {}
    answers = [submit_files.Answer("segment", "", PROGRAMS["right"], "")]
    taken = submission_samples.take([contest], answers, "f", desk.shown, desk.notes["public"])
    assert taken["segment"][0].program.public == (None,) and desk.notes["public"].known == {}
    entry = submission_work.Entry("segment", contest.subtasks, tuple(programs[:1]), tuple(programs[1:]))
    outcome = submission._judged(contest, entry, SubmitConfig(), desk)
    found = submission_report.build(SubmitConfig(), [outcome], "L1", None)
    assert found["unjudged"] == 1 and found["score"]["chosen"]["mean"] == 0.0


class Liked:
    """A verifier that likes short answers."""

    name, semantics = "liked", "outcome"
    asked = 0

    def score(self, traces: list[Trace]) -> list[float | None]:
        self.asked += len(traces)
        return [None if "mute" in t.text else 1 / (1 + len(t.text)) for t in traces]

    @property
    def ledger(self) -> Ledger:
        return Ledger()


def test_learned_scores_are_asked_once(tmp_path: Path):
    contest = submission_problems.read(write(tmp_path / "p.jsonl", [SEGMENT]), "test", 1, 0, {}, 2.0)[0]
    texts = ["long text", "x", "x", "mute"]
    samples = [submission_samples.Sample(Program(str(i), "all", t), contest.parts[0], t) for i, t in enumerate(texts)]
    notes, verifier, told = submission_work.Notes(tmp_path / "n.jsonl"), Liked(), list[int]()
    scored = submission_samples.learned(samples, verifier, "liked", None, notes, told.append)  # type: ignore[arg-type]
    assert [s.program.learned for s in scored] == [0.1, 0.5, 0.5, None] and (verifier.asked, sum(told)) == (3, 4)
    submission_samples.learned(
        samples, verifier, "liked", None, submission_work.Notes(tmp_path / "n.jsonl"), told.append
    )  # type: ignore[arg-type]
    assert verifier.asked == 3
    verifier.reads = "tokens"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="reads token ids"):
        submission_samples.learned(samples, verifier, "liked", None, notes, told.append)  # type: ignore[arg-type]


def test_subtasks_are_asked_alone_and_carry_their_tests(tmp_path: Path):
    parts = [
        {"name": "a", "statement": "n is 1.", "points": 30, "private_test_cases": HIDDEN[:1]},
        {"name": "b", "statement": "Any n.", "points": 70, "includes": ["a"], "generator": "print(input())"},
    ]
    row = {**SEGMENT, "subtasks": parts, "generator": "print(1)", "validators": ["print('yes')"]}
    contest = submission_problems.read(write(tmp_path / "p.jsonl", [row]), "test", 9, 0, {}, 2.0)[0]
    a, b = contest.parts
    assert (a.subtask, b.subtask) == (Subtask("a", 30, 30), Subtask("b", 70, 70, includes=("a",)))
    assert "n is 1." in a.problem.text and "Any n." not in a.problem.text and a.problem.id != b.problem.id
    assert (a.generators, b.generators, b.validators) == (("print(1)",), ("print(input())",), ("print('yes')",))
    assert a.form.limits.cpu_seconds == 0.3 and a.form.seeds == tuple(c["input"] for c in PUBLIC)
    hidden = a.problem.reference["stdin"]
    assert hidden == [[HIDDEN[0]["input"], HIDDEN[0]["output"]]]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "?", "answer": 1}, "no problem with tests"),
        ({**SEGMENT, "time_limit": -1}, "time_limit"),
        ({**SEGMENT, "subtasks": [{"points": 1}]}, "a subtask is an object with a name"),
        ({**SEGMENT, "subtasks": [{"name": "a", "includes": ["z"]}]}, "includes names subtask 'z'"),
        ({**SEGMENT, "subtasks": [{"name": "a"}, {"name": "a"}]}, "given twice"),
        ({**SEGMENT, "subtasks": [{"name": "a", "points": 0}]}, "points are above 0"),
        ({**SEGMENT, "subtasks": [{"name": str(i)} for i in range(11)]}, "11 subtasks; a problem may have 10"),
        ({**SEGMENT, "generator": 5}, "'generator' is a program"),
        ({**SEGMENT, "public_test_cases": 5}, "test cases are a list"),
    ],
)
def test_problems_that_can_not_be_used_are_named(tmp_path: Path, row: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says) as caught:
        submission_problems.read(write(tmp_path / "p.jsonl", [row]), "test", 9, 0, {}, 2.0)
    assert "p.jsonl:1" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give a task"),
        (("humaneval",), "who writes programs"),
        (("humaneval", "--model", "mini", "--stored", "x"), "give one of the two"),
        (("--stored", "none.jsonl"), "can not be read"),
        (("chain", "--model", "mini"), "submissions need problems with tests"),
        (("humaneval", "--model", "mini", "--submissions", "51"), "--submissions 51 is not allowed"),
        (("none.jsonl", "--model", "mini"), "none.jsonl"),
        (("humaneval", "--stored", "x", "--tests", "model"), "--tester"),
    ],
)
def test_wrong_input_is_one_line(arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], data: Path,
                                 monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    monkeypatch.setenv("PONDER_DATA", str(data))
    error = said(capsys, *arguments, code=2)["error"]
    assert says in error and len(error.splitlines()) == 1


def test_answers_that_were_not_run_need_their_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    answers = write(tmp_path / "a.jsonl", [{"task_id": "t", "completion": "x"}])
    assert "have not been run" in said(capsys, "--stored", answers, code=2)["error"]
    problems = write(tmp_path / "p.jsonl", [SEGMENT])
    error = said(capsys, problems, "--stored", answers, "--out", str(tmp_path / "run"), code=2)["error"]
    assert "no answer is to one of these problems" in error
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    bad = write(tmp_path / "b.jsonl", [{"completion": "x"}])
    assert "b.jsonl:1" in said(capsys, problems, "--stored", bad, code=2)["error"]


def test_what_the_visible_grade_says():
    graded = CodeGrader(tests="visible", partial=True)
    assert graded.tests == "visible"
    from ponder.types import Grade

    assert submission_samples.verdicts(Grade(0.5, "wrong", {"passed": 1, "total": 2}), True) == (True, False)
    assert submission_samples.verdicts(Grade(None, "error"), True) == (None,)
    assert submission_samples.verdicts(Grade(None, "error"), False) == ()
    assert submission_samples.verdicts(Grade(0.0, "unparsed"), False) == (False,)


def test_a_problem_of_hostile_names_is_text_on_the_page(tmp_path: Path):
    entry = submission_work.Entry("<script>", (Subtask("<b>"),), (Program("<i>", "<b>", "x", outputs={"i": Output()}),))
    outcome = submission_report.Outcome(
        entry, submission._plan(entry, lambda p: {}, SubmitConfig(stored="<u>")), {"<i>": {}}
    )
    page = submission_report.html(submission_report.build(SubmitConfig(stored="<u>"), [outcome], "L2", None))
    assert "&lt;script&gt;" in page and not any(tag in page for tag in ("<script>", "<i>", "<u>"))
