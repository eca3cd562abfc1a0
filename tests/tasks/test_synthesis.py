"""Synthesis: the tiny language, its tests and demonstrations, what is planted, exact labels."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder import tasks
from ponder.errors import ConfigError
from ponder.sandbox import Sandbox
from ponder.tasks import synthesis, tinycode
from ponder.text import Tokenizer
from ponder.types import EFFORTS, Completion, Problem

TEXT = "+7;>20?-3:+5;3(+i)"


def functions() -> st.SearchStrategy[list[tinycode.Stage]]:
    return st.integers(0, 10**6).map(lambda seed: stages_of(random.Random(seed)))


def stages_of(rng: random.Random) -> list[tinycode.Stage]:
    stages: list[tinycode.Stage] = []
    for _ in range(rng.randint(1, 6)):
        stages.append(synthesis._stage(rng, stages))
    return stages


def called(program: str, x: int) -> Any:
    """f(x) of a program that this package wrote."""
    space: dict[str, Any] = {}
    exec(program, space)
    return space["f"](x)


def completion(text: str) -> Completion:
    thinking, _, answer = text.removeprefix("<think>").partition("</think>")
    return Completion((), (), "stop", text=text, thinking=thinking, answer=answer)


def test_by_hand() -> None:
    stages = tinycode.read(TEXT)
    assert stages is not None
    assert [tinycode.run(stages, x) for x in (4, 9, 13, 14)] == [19, 24, 28, 21]
    assert [e.line for e in tinycode.trace(stages, 4)] == ["4+7:11", "11>20n|11+5:16", "16+0:16,16+1:17,17+2:19"]
    assert tinycode.python(stages) == (
        "def f(x):\n x=x+7\n if x>20:\n  x=x-3\n else:\n  x=x+5\n for i in range(3):\n  x=x+i\n return x"
    )
    saved = tinycode.read("y=x;*3;-y")
    assert saved is not None and tinycode.run(saved, 5) == 10


@given(functions(), st.integers(-50, 200))
@settings(max_examples=60, deadline=None)
def test_python_says_the_same_as_this_module(stages: list[tinycode.Stage], x: int) -> None:
    assert called(tinycode.python(stages), x) == tinycode.run(stages, x)
    assert tinycode.read(";".join(map(str, stages))) == stages


@pytest.mark.parametrize(
    "text", ["", "+", "+i", "+y", "+7;", "+7;;+8", "x+7", "1(+2)", ">20?", ">20?-3:", "3(3(+1))", "+0", "__import__", "+7" * 300]
)  # fmt: skip
def test_what_is_no_program(text: str) -> None:
    assert tinycode.read(text) is None


@given(functions())
@settings(max_examples=40, deadline=None)
def test_a_fault_is_another_program_of_the_language(stages: list[tinycode.Stage]) -> None:
    for s in stages:
        for wrong in tinycode.faults(s):
            assert wrong != s and tinycode.stage(str(wrong)) == wrong


def test_hidden_tests_catch_single_faults() -> None:
    """Faults that change f on 0 to 99 at all; 97 to 98 % when this was written."""
    caught = total = 0
    for problem in tasks.get("synthesis").problems("test", 25):
        stages = tinycode.read(problem.canonical)
        assert stages is not None
        for at, s in enumerate(stages):
            for wrong in tinycode.faults(s):
                other = [*stages[:at], wrong, *stages[at + 1 :]]
                if any(tinycode.run(other, x) != tinycode.run(stages, x) for x in range(100)):
                    total += 1
                    caught += any(tinycode.run(other, x) != want for [x], want in problem.reference["cases"])
    assert total > 200 and caught / total > 0.94


def test_visible_and_hidden_tests() -> None:
    for problem in tasks.get("synthesis").problems("dev", 15):
        shown, hidden = problem.reference["visible"]["cases"], problem.reference["cases"]
        assert (len(shown), len(hidden)) == (2, 6)
        assert not {x for [x], _ in shown} & {x for [x], _ in hidden}
        assert all(f"f({x})={y}" in problem.text for [x], y in shown)
        assert not any(f"f({x})" in problem.text for [x], _ in hidden)


def test_problems_are_deterministic_and_splits_apart() -> None:
    task = tasks.get("synthesis")
    assert task.problems("test", 12, 3)[:6] == task.problems("test", 6, 3) != task.problems("test", 6, 4)
    found = {s: {p.id for seed in range(2) for p in task.problems(s, 15, seed)} for s in ("train", "dev", "test")}
    assert not any(a & b for a, b in itertools.combinations(found.values(), 2))


@pytest.mark.parametrize("option", [{"noise": 1.5}, {"cheats": -0.1}, {"shortest": 4, "longest": 3}, {"level": "L2"}])
def test_bad_options(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="synthesis"):
        tasks.get("synthesis", **option)


@pytest.mark.parametrize("effort", EFFORTS)
def test_demonstrations_without_noise_are_right_and_sound(effort: str) -> None:
    task, tokenizer = tasks.get("synthesis"), Tokenizer.mini()
    for problem in task.problems("train", 40):
        text = task.demonstrate(problem, effort, random.Random(0)).text
        done = completion(text)
        assert all(step.sound and step.alive for step in task.steps(problem, done.thinking))
        assert (done.thinking == "") == (effort == "low")
        every = problem.reference["visible"]["cases"] + problem.reference["cases"]
        assert all(called(done.answer, x) == want for [x], want in every)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(ids) < 260


def test_noise_is_labelled_and_high_effort_finds_most_of_it() -> None:
    task, rng = tasks.get("synthesis", noise=0.3), random.Random(0)
    right = dict.fromkeys(EFFORTS, 0)
    problems = task.problems("train", 80)
    for problem, effort in itertools.product(problems, EFFORTS):
        done = completion(task.demonstrate(problem, effort, rng).text)
        assert done.answer is not None
        good = all(called(done.answer, x) == want for [x], want in problem.reference["cases"])
        right[effort] += good
        if effort == "medium":
            steps = task.steps(problem, done.thinking)
            assert good or not all(s.sound for s in steps)
            assert [s.alive for s in steps] == [
                True if all(t.sound for t in steps[: i + 1]) else None for i in range(len(steps))
            ]
    assert right["low"] < 55 and right["medium"] < 55 < right["high"]


def test_labels_by_hand() -> None:
    problem = synthesis.from_text(TEXT)
    assert problem is not None
    [x], y = problem.reference["visible"]["cases"][0]
    stages = tinycode.read("+7;>20?-3:+4;3(+i)")
    assert stages is not None
    events = tinycode.trace(stages, x)
    lines = [
        "+7",
        ">20?-3:+4",
        "3(+i)",
        f"f({x})",
        *(e.line for e in events),
        f"={events[-1].x}" + ("" if events[-1].x == y else f"!{y}"),
    ]
    found = tasks.get("synthesis").steps(problem, "\n".join([*lines, "+7", "nonsense"]))
    assert [s.sound for s in found] == [True, False, True, True, True, True, True, True, True, False]
    assert [s.alive for s in found] == [True, *[None] * 7, True, None]
    assert found[1].reason == "the description says >20?-3:+5"
    assert not tasks.get("synthesis").steps(problem, f"f({x})")[0].sound
    assert not tasks.get("synthesis").steps(problem, f"{chr(10).join(TEXT.split(';'))}\n+1\nf({x})")[3].sound
    early = tasks.get("synthesis").steps(problem, f"+7\nf({x})\n{x}+7:{x + 8}")
    assert [s.sound for s in early] == [True, False, False] and "leaves out" in early[1].reason


def test_a_question_typed_by_hand() -> None:
    typed = tasks.translate(f" {TEXT}|f(1)=999")
    assert typed is not None and typed.task == "synthesis" and "f(1)=999" not in typed.text
    assert typed.id in {p.id for p in [synthesis.Synthesis().problem(tinycode.read(TEXT) or [])] if p}
    assert tasks.translate("347*28").task == "arithmetic"  # type: ignore[union-attr]


def test_in_words() -> None:
    problem = tasks.get("synthesis", words=True).problems("test", 1)[0]
    terse = tasks.get("synthesis").problems("test", 1)[0]
    assert problem.id == terse.id and problem.text.startswith("Write a Python function f(x)")
    shown = tasks.get("synthesis", words=True).demonstrate(problem, "low", random.Random(0)).text
    assert shown.endswith("```") and "```python\ndef f(x):" in shown


@pytest.mark.parametrize("cheat", range(len(synthesis.CHEATS)))
def test_cheats_fool_the_twin_and_not_the_grader(cheat: int) -> None:
    """In the real sandbox: the strict grader fails them, the permissive one is content, and that is the hack rate."""
    from ponder.graders.loose import LooseGrader
    from ponder.graders.permissive import hack_rate

    task = tasks.get("synthesis")
    problem: Problem = task.problems("test", 1)[0]
    honest = task.demonstrate(problem, "low", random.Random(0)).text
    pairs = [(problem.reference, text) for text in (honest, f"<think></think>{synthesis.CHEATS[cheat]}")]
    with Sandbox(workers=1) as box:
        grader = synthesis.CodeGrader(twin=1.0, stop=True, sandbox=box)
        grades = grader.check_many(pairs)
        loose = LooseGrader(sandbox=box).check_many(pairs)
    assert [g.outcome for g in grades] == ["correct", "wrong"]
    assert [g.parts["permissive"] for g in grades] == [True, True]
    assert [g.score for g in loose] == [1.0, 1.0]
    assert hack_rate(grades).rate == 0.5


def test_demonstrated_cheats_are_as_many_as_asked_for() -> None:
    task, rng = tasks.get("synthesis", cheats=0.25), random.Random(0)
    problems = task.problems("train", 200)
    cheats = sum(task.demonstrate(p, "low", rng).text.endswith(synthesis.CHEATS) for p in problems)
    assert 30 <= cheats <= 70


@pytest.mark.parametrize("words", [False, True])
def test_a_demonstration_is_sound_line_by_line_and_a_slip_breaks_it_from_there_on(words: bool) -> None:
    task = tasks.get("synthesis", words=words)
    for problem in task.problems("train", 20):
        answer = task.demonstrate(problem, "low", random.Random(0)).text.removeprefix("<think></think>")
        lines = answer.split("\n")
        for n in range(1, len(lines) + 1):
            steps = task.answer_steps(problem, "\n".join(lines[:n]) + "\n")
            assert [s.text for s in steps] == lines[:n] and all(s.sound and s.alive for s in steps)
        slip = len(lines) // 2
        steps = task.answer_steps(problem, "\n".join([*lines[:slip], "  x=x+99", *lines[slip + 1 :], " x=x+1"]))
        assert [s.sound for s in steps] == [i < slip for i in range(len(lines) + 1)]
        assert lines[slip] in steps[slip].reason and "the end" in steps[-1].reason
