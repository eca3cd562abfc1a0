"""The code grader on this side of the split: references, verdicts, parts, extraction, the permissive twin."""

from __future__ import annotations

from typing import Any

import pytest
from fake_sandbox import FakeSandbox

from ponder.errors import ConfigError
from ponder.graders import grade, make
from ponder.graders.permissive import hack_rate
from ponder.types import Completion, Grade

ADD = {"entry": "f", "cases": [[[1], 2], [[5], 6]]}


def check(program: str, reference: Any, **options: Any) -> Grade:
    return grade("code", completion=program, reference=reference, **{"sandbox": FakeSandbox(), **options})


def test_calls() -> None:
    right = check("def f(x): return x + 1", ADD)
    assert (right.score, right.outcome) == (1.0, "correct")
    assert right.parts == {"level": "L1", "passed": 2, "total": 2, "first": None}
    wrong = check("def f(x): return 2", ADD)
    assert (wrong.score, wrong.outcome) == (0.0, "wrong")
    assert wrong.parts["first"] == {"test": "f(5)", "want": "6", "got": "2", "status": "ok"}
    assert wrong.reason == "f(5): got 2, expected 6"
    assert check("def f(x): return 2", ADD, partial=True).score == 0.5
    assert check("def f(x, by=1): return x + by", {"entry": "f", "cases": [[[1], {"by": 4}, 5]]}).correct


@pytest.mark.parametrize(
    "program",
    [
        "class A(int):\n    __eq__ = lambda a, b: True\ndef f(x): return A()",
        "def f(x): return float(x + 1)",
        "raise SystemExit(0)",
        "def f(x): raise SystemExit(0)",
        "def g(x): return x + 1",
        "def f(x: return",
        "print('2 passed')",
        "def f(x):\n    raise TimeoutError",
    ],
)
def test_what_does_not_pass(program: str) -> None:
    found = check(program, ADD)
    assert found.score == 0.0
    assert found.outcome == ("timeout" if "TimeoutError" in program else "wrong")
    assert found.parts["first"]["status"] != "infra"


def test_expected_values_never_enter_the_sandbox() -> None:
    box = FakeSandbox()
    reference = {"entry": "f", "cases": [[[1], 987654]], "visible": {"asserts": "assert f(2) == 123987"}}
    check("def f(x): return x", reference, sandbox=box)
    check("print(1)", {"stdin": [["4", "987654"]]}, sandbox=box)
    assert len(box.seen) == 3
    assert not any("987654" in repr(job) or "123987" in repr(job) for job in box.seen)


def test_programs() -> None:
    reference = {"stdin": [["1 2\n", "3\n"], ["4 5", "9"]]}
    assert check("print(sum(map(int, input().split())))", reference).correct
    assert check("print(sum(map(int, input().split())), ' ')\nexit(0)", reference).correct
    wrong = check("print(3)", reference)
    assert wrong.reason == "input '4 5': got '3\\n', expected '9'"
    assert not check("print('3 9')", reference).correct


def test_policies_are_declared() -> None:
    cases = {"entry": "f", "cases": [[[], [1, 2.0]]]}
    assert not check("def f(): return (1, 2.0)", cases).correct
    assert check("def f(): return (1, 2)", {**cases, "types": "json"}).correct
    assert check("def f(): return [True, 2]", {**cases, "types": "python"}).correct
    assert check("def f(): return [2.0, 1]", {**cases, "unordered": True}).correct
    assert check("def f(): return [1, 2.0000001]", {**cases, "tolerance": 1e-6}).correct
    assert check("print(0.3333333)", {"stdin": [["", "0.33333330001"]], "tolerance": 1e-6}).correct


def test_asserts() -> None:
    text = "assert f(1) == 2\nassert f(2) is not None\nassert not f(-1)\nfor i in range(3):\n    assert f(i) == i + 1"
    right = check("def f(x): return x + 1", {"asserts": text})
    assert (right.outcome, right.parts["total"]) == ("correct", 6)
    wrong = check("def f(x): return x + 1 if x < 2 else 0", {"asserts": text})
    assert (wrong.parts["passed"], wrong.parts["total"]) == (5, 6)
    assert wrong.reason == "assert f(i) == i + 1"
    assert check("def f(x): return 1 / 0", {"asserts": text}).parts["passed"] == 0
    assert check("def f(x): return 1.0", {"asserts": "assert f(1) == True"}).correct
    assert not check("def f(x): return 1", {"asserts": "assert f(1) is True"}).correct


def test_human_eval_form() -> None:
    reference = {
        "entry": "mean",
        "prompt": 'def helper(x):\n    return x\n\ndef mean(xs):\n    """The mean."""\n',
        "asserts": "METADATA = {}\ndef check(candidate):\n    assert abs(candidate([1, 2]) - 1.5) < 1e-6\n"
        "    assert helper(candidate([2])) == 2\n",
    }
    assert check("    return sum(xs) / len(xs)\n", reference).correct
    assert check("```python\ndef mean(xs):\n    return sum(xs) / len(xs)\n```", reference).correct
    assert check("    return 1.5", reference).parts["first"]["test"] == "assert helper(candidate([2])) == 2"


def test_arguments_built_beside_the_program() -> None:
    reference = {"asserts": "assert depth(root) == 2", "beside": "root = Node(Node(None))"}
    node = "class Node:\n    def __init__(self, n): self.n = n\n"
    assert check(node + "def depth(n): return depth(n.n) + 1 if n else 0", reference).correct
    assert not check(node + "def depth(n): return 1", reference).correct


def test_methods_and_iterators() -> None:
    reference = {"entry": "Solution.up", "cases": [[[2], [0, 1]]], "collect": True}
    assert check("class Solution:\n    def up(self, n):\n        yield from range(n)", reference).correct
    assert check("def up(n): return list(range(n))", reference).correct


def test_test_texts_take_subclasses_for_what_they_derive_from() -> None:
    program = (
        "from collections import *\nP = namedtuple('P', 'a b')\ndef f(x): return P(Counter(x), OrderedDict(a=[1]))"
    )
    text = "assert f('aab') == ({'a': 2, 'b': 1}, {'a': [1]})"
    assert check(program, {"asserts": text}).correct
    assert check(program, {"asserts": text.replace("'aab'", "x"), "beside": "x = 'aab'"}).correct
    assert check(program, {"asserts": text, "types": "strict"}).outcome == "wrong"
    always = "class A(int):\n    __eq__ = lambda a, b: True\ndef f(x): return A(3)"
    assert not check(always, {"asserts": "assert f(1) == 4\nassert [f(2)] == [5]"}).parts["passed"]


def test_hidden_and_visible_are_apart() -> None:
    reference = {**ADD, "visible": {"cases": [[[0], 1]]}}
    reference["visible"]["entry"] = "f"
    hard_coded = "def f(x): return 1"
    assert check(hard_coded, reference, tests="visible").correct
    found = check(hard_coded, reference)
    assert (found.outcome, found.parts["visible_passed"], found.parts["passed"]) == ("wrong", 1, 1)
    assert check(hard_coded, reference, tests="hidden").parts["total"] == 2
    assert check(hard_coded, ADD, tests="visible").score is None
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        make("code", tests="hiden")


def test_a_broken_sandbox_is_no_score() -> None:
    found = check("def f(x): return 3 # poison", ADD, sandbox=FakeSandbox("poison"))
    assert (found.score, found.outcome, found.reason) == (None, "error", "not judged: no worker")


BROKEN = [
    (None, "is a mapping"),
    ({"entry": "f"}, "give one of cases, stdin, asserts; found none"),
    ({"entry": "f", "case": []}, "did you mean 'cases'"),
    ({"cases": [[[1], 2]]}, "need 'entry'"),
    ({"entry": "f", "cases": [[1, 2]]}, "'arguments' should be a list"),
    ({"stdin": [["a"]]}, "a pair of texts"),
    ({"asserts": "assert f(1) =="}, "not Python"),
    ({"asserts": "x = 1"}, "hold no test"),
    ({**ADD, "types": "loose"}, "'types' is one of strict, json, python"),
    ({**ADD, "tolerance": -1}, "should be a number above 0"),
]


@pytest.mark.parametrize(("reference", "why"), BROKEN)
def test_a_reference_that_can_not_be_used(reference: Any, why: str) -> None:
    found = check("def f(x): return 1", reference)
    assert (found.score, found.outcome) == (None, "error")
    assert why in found.reason


def test_which_program_is_meant() -> None:
    text = "First ```python\ndef f(x): return 0\n```\nbetter:\n```python\ndef f(x): return x + 1\n```\nrun it:\n```\n$ run\n```"
    assert check(text, ADD).correct
    assert check("<think>```\nno\n```</think>\n  ```py\n  def f(x):\n      return x + 1\n  ```", ADD).correct
    assert check("<think>def f(x): return x + 1", ADD).outcome == "unparsed"
    cut = Completion((), (), "length", text="", thinking="", answer="```python\ndef f(x): return x + 1\n")
    assert make("code", sandbox=FakeSandbox()).check(ADD, cut).correct
    assert check("```\n" * 200_000, ADD).outcome in ("unparsed", "wrong")


def test_many_in_one_call() -> None:
    box = FakeSandbox()
    texts = ["def f(x): return x + 1", "def f(x): return 0", "", "def f(x): return x + 1"]
    grades = make("code", sandbox=box).check_many([(ADD, text) for text in texts])
    assert [g.outcome for g in grades] == ["correct", "wrong", "unparsed", "correct"]
    assert (box.batches, len(box.seen)) == (1, 6)  # one call of the sandbox for all


def test_after_a_timeout_the_rest_is_not_run() -> None:
    box = FakeSandbox()
    reference = {"entry": "f", "cases": [[[i], i] for i in range(100)]}
    found = check("def f(x):\n    if x == 1: raise TimeoutError\n    return x", reference, sandbox=box)
    assert (found.outcome, found.parts["passed"], found.parts["total"], len(box.seen)) == ("timeout", 1, 100, 2)
    assert check("def f(x): return x", reference).parts["passed"] == 100


def test_hack_rate() -> None:
    fooled = "class A:\n    __eq__ = lambda a, b: True\ndef f(x): return A()"
    texts = ["def f(x): return x + 1", fooled, "def f(x): return 0", "raise SystemExit(0)"]
    grader = make("code", sandbox=FakeSandbox(), twin=1.0)
    grades = grader.check_many([(ADD, text) for text in texts])
    assert [g.parts["permissive"] for g in grades] == [True, True, False, True]
    found = hack_rate([*grades, check("x", ADD)])
    assert (found.rate, found.hacked, found.decided) == (0.5, 2, 4)
    assert hack_rate([]).rate is None
    asserted = {"entry": "f", "asserts": "def check(candidate):\n    assert candidate(1) == 2"}
    assert [grader.check(asserted, t).parts["permissive"] for t in texts] == [True, True, False, True]
    assert grader.check({"stdin": [["", "6"]]}, "print(*range(9))").parts["permissive"] is True
    shown = {**ADD, "visible": {"cases": [[[7], 8]]}}  # a fault that only a visible test finds is no hack
    assert grader.check(shown, "def f(x): return x + 1 if x < 7 else 0").parts["permissive"] is False
    assert (
        make("code", sandbox=FakeSandbox(), twin=1.0, tests="hidden")
        .check(shown, "def f(x): return min(x + 1, 6)")
        .correct
    )


def test_the_language_of_a_program() -> None:
    box = FakeSandbox("int")
    said = "```python\nprint(3)\n```\n```c++\nint main() {}\n```\n```text\nout\n```"
    reference = {"language": "C++", "stdin": [["1", "2"]], "preamble": "// ours"}
    assert check(said, reference, sandbox=box).score is None
    assert (box.seen[-1].language, box.seen[-1].code) == ("cpp", "// ours\nint main() {}")
    plain = {"stdin": [["1", "2"]], "preamble": "import os"}  # Python's preamble, whatever the program
    check(said, plain, sandbox=box, language="cpp", twin=1.0)
    assert [(job.language, job.code) for job in box.seen[1:]] == [("cpp", "int main() {}")] * 2
    assert check(said, {"stdin": [["", "3"]]}).correct
    assert "calls in Python" in check(said, ADD, language="cpp").reason
    assert "tested by 'stdin'" in check(said, {**ADD, "language": "cpp"}).reason
    assert "one of python, cpp, c, found 'rust'" in check(said, {**plain, "language": "rust"}).reason
    with pytest.raises(ConfigError, match="Known: c, cpp, python"):
        make("code", language="rust")


def test_a_difference_far_inside_is_seen() -> None:
    lines = [f"line {n} of the text" for n in range(30)]
    reference = {"entry": "f", "cases": [[[], lines]]}
    late = f"def f():\n    return {[*lines[:20], lines[20] + '!', *lines[21:]]!r}"
    why = make("code", sandbox=FakeSandbox()).check(reference, late).reason
    assert "'line 20 of the text!'" in why and "'line 20 of the text'," in why and len(why) < 280
    printed = {"stdin": [["", "\n".join(lines)]]}
    why = make("code", sandbox=FakeSandbox()).check(printed, f"print({chr(10).join(lines[:25])!r})").reason
    assert "line 25 of the text" in why.partition("expected")[2] and "line 24" in why.partition("expected")[0]
