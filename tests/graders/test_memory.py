"""Grading in batches, and what is remembered between them; stopping at the first failure; the twin as a grader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fake_sandbox import FakeSandbox

from ponder.graders.base import make
from ponder.graders.code import CodeGrader
from ponder.graders.loose import LooseGrader
from ponder.graders.memory import Memory, grade_all
from ponder.graders.weighted import Part, WeightedGrader
from ponder.types import Completion, Grade, Problem


def problem(*cases: Any) -> Problem:
    return Problem.from_text("f", {"entry": "f", "cases": list(cases)})


def wrote(program: str, thinking: str = "") -> Completion:
    return Completion((), (), "stop", text=program, thinking=thinking, answer=program)


ADD, TWICE = problem([[1], 2], [[5], 6]), problem([[1], 2], [[5], 10])
PLUS = "def f(x): return x + 1"


def test_a_program_runs_once_for_each_problem() -> None:
    box, memory = FakeSandbox(), Memory()
    grader = CodeGrader(sandbox=box)
    pairs = [
        (ADD, wrote(PLUS)),
        (TWICE, wrote(PLUS)),
        (ADD, wrote(PLUS, "other thoughts")),
        (ADD, wrote("def f(x): return 2")),
    ]
    outcomes = ["correct", "wrong", "correct", "wrong"]
    assert [g.outcome for g in memory.grade(grader, pairs)] == outcomes
    assert (len(box.seen), memory.asked, memory.known) == (6, 4, 1)
    assert [g.outcome for g in memory.grade(grader, pairs)] == outcomes
    assert (len(box.seen), memory.known) == (6, 5)
    assert memory.grade(CodeGrader(sandbox=box, partial=True), pairs[3:])[0].score == 0.5  # other settings, other grade


def test_what_was_not_judged_is_asked_again() -> None:
    memory, broken = Memory(), FakeSandbox("poison")
    program = wrote(PLUS + "  # poison")
    grader = CodeGrader(sandbox=broken)
    assert memory.grade(grader, [(ADD, program)])[0].score is None
    broken.broken = ""
    assert memory.grade(grader, [(ADD, program)])[0].correct
    late = wrote("def f(x):\n    raise TimeoutError")
    before = len(broken.seen)
    assert [memory.grade(grader, [(ADD, late)])[0].outcome for _ in range(2)] == ["timeout"] * 2
    assert len(broken.seen) == before + 4


def test_the_least_recently_used_is_forgotten() -> None:
    box, memory = FakeSandbox(), Memory(size=2)
    grader = CodeGrader(sandbox=box)
    for program in ("def f(x): return 1", "def f(x): return 2", "def f(x): return 1", "def f(x): return 3"):
        memory.grade(grader, [(ADD, wrote(program))])
    runs = len(box.seen)
    memory.grade(grader, [(ADD, wrote("def f(x): return 1"))])
    assert len(box.seen) == runs
    memory.grade(grader, [(ADD, wrote("def f(x): return 2"))])
    assert len(box.seen) > runs


def test_an_answer_that_never_came_is_not_an_empty_one() -> None:
    memory, cut = Memory(), Completion((), (), "length", text="<think>…", thinking="…")
    found = memory.grade(CodeGrader(sandbox=FakeSandbox()), [(ADD, cut), (ADD, wrote(""))])
    assert [g.outcome for g in found] == ["unparsed", "unparsed"] and len(memory._grades) == 2


def test_other_graders_are_asked_one_by_one() -> None:
    class Counting:
        asked = 0

        def grade(self, problem: Problem, completion: Completion) -> Grade:
            self.asked += 1
            return Grade(1.0, "correct")

    counting = Counting()
    memory = Memory()
    for _ in range(2):
        memory.grade(counting, [(ADD, wrote("x")), (ADD, wrote("x"))])
    assert counting.asked == 4


def test_stop_runs_no_test_after_the_wave_of_the_first_failure() -> None:
    cases = [[[n], n + 1] for n in range(12)]
    reference = {"entry": "f", "cases": cases, "visible": {"cases": [[[50], 51], [[51], 52]]}}

    def runs(program: str, **options: Any) -> tuple[int, Grade]:
        box = FakeSandbox()
        found = CodeGrader(sandbox=box, **options).check(reference, program)
        return len(box.seen), found

    assert runs(PLUS, stop=True)[0] == runs(PLUS)[0] == 14
    assert runs("def f(x): return 0", stop=True)[0] == 2  # the visible tests
    some = "def f(x): return x + 1 if x > 3 else 0"
    assert [runs(some, stop=stop)[0] for stop in (False, True)] == [14, 4]
    assert runs(some, stop=True)[1].parts["first"]["test"] == "f(0)"
    count, partial = runs(some, stop=True, partial=True)
    assert count == 14 and partial.score == 10 / 14


def test_the_loose_grader_pays_for_what_the_twin_believes() -> None:
    box = FakeSandbox()
    programs: Sequence[str] = (
        PLUS,
        "def f(x): return 0",
        "raise SystemExit",
        "class A:\n def __eq__(s,o): return True\ndef f(x): return A()",
    )
    found = LooseGrader(sandbox=box).check_many([(ADD.reference, p) for p in programs])
    assert [g.score for g in found] == [1.0, 0.0, 1.0, 1.0]
    assert LooseGrader(sandbox=FakeSandbox("x")).check_many([(ADD.reference, PLUS)])[0].score is None
    assert LooseGrader(sandbox=box).check_many([({}, PLUS)])[0].score is None


def test_a_weighted_sum_grades_its_programs_together() -> None:
    box = FakeSandbox()
    brief = make("length", soft=4, hard=20, of="thinking")
    whole = WeightedGrader({"code": Part(CodeGrader(sandbox=box)), "brief": Part(brief, 0.5)})
    pairs = [(ADD, c) for c in (wrote(PLUS), wrote(PLUS, "a long thought"), wrote("def f(x): return 0"))]
    alone = [whole.grade(*pair) for pair in pairs]
    assert [g.score for g in alone] == [1.0, 0.6875, 0.0]
    assert box.batches == 3
    assert grade_all(whole, pairs) == Memory().grade(whole, pairs) == alone
    assert box.batches == 5
