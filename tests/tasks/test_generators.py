"""The generated tasks: determinism, splits, exact labels, graders."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder import tasks
from ponder.errors import ConfigError
from ponder.tasks import chain, countdown
from ponder.tasks.arithmetic import placed, unplaced
from ponder.tasks.expression import leaves, normal_form, parse
from ponder.text import Tokenizer
from ponder.types import EFFORTS, Completion, Problem

NAMES = ("chain", "countdown", "arithmetic")


def completion(text: str) -> Completion:
    thinking, _, answer = text.removeprefix("<think>").partition("</think>")
    return Completion((), (), "stop", text=text, thinking=thinking, answer=answer)


def answered(answer: str | None) -> Completion:
    return Completion((), (), "stop", thinking="", answer=answer)


@pytest.mark.parametrize("name", NAMES)
def test_problems_are_deterministic_and_longer_lists_extend_shorter_ones(name: str) -> None:
    task = tasks.get(name)
    assert task.problems("test", 20, 3) == task.problems("test", 20, 3)
    assert task.problems("test", 40, 3)[:20] == task.problems("test", 20, 3)
    assert task.problems("test", 20, 3) != task.problems("test", 20, 4)


@pytest.mark.parametrize("name", NAMES)
def test_no_seed_leaks_a_problem_across_splits(name: str) -> None:
    task = tasks.get(name)
    found = {
        split: {p.id for seed in range(3) for p in task.problems(split, 80, seed)} for split in ("train", "dev", "test")
    }
    for a, b in itertools.combinations(found.values(), 2):
        assert not a & b


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("effort", EFFORTS)
def test_demonstrations_are_honest_line_by_line_and_grade_as_they_claim(name: str, effort: str) -> None:
    task = tasks.get(name)
    rng = random.Random(0)
    for problem in task.problems("train", 60):
        text = task.demonstrate(problem, effort, rng).text
        done = completion(text)
        assert all(step.sound for step in task.steps(problem, done.thinking)), text
        gave_up = done.answer == countdown.ABSTAIN
        assert task.grader.grade(problem, done).correct == (not gave_up)
        assert name == "countdown" or not gave_up


@pytest.mark.parametrize("name", NAMES)
def test_demonstrations_survive_the_tokenizer(name: str) -> None:
    task, tokenizer = tasks.get(name), Tokenizer.mini()
    for problem in task.problems("train", 30):
        text = task.demonstrate(problem, "high", random.Random(1)).text
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        parts = tokenizer.split(ids)
        assert parts.answer is not None and tokenizer.decode(parts.answer) == text.split("</think>")[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_digit_in_the_thinking_is_found(name: str) -> None:
    task = tasks.get(name)
    rng = random.Random(2)
    for problem in task.problems("train", 40):
        thinking = completion(task.demonstrate(problem, "medium", rng).text).thinking
        results = [i for i in range(1, len(thinking)) if _is_result(thinking, i)]
        at = rng.choice(results)
        changed = thinking[:at] + str((int(thinking[at]) + 1 + rng.randrange(8)) % 10) + thinking[at + 1 :]
        assert not all(step.sound for step in task.steps(problem, changed)), (thinking, changed)


def _is_result(thinking: str, i: int) -> bool:
    return thinking[i].isdigit() and (thinking[i - 1] == "=" or thinking[i - 1].isupper())


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_dominates(name: str) -> None:
    references = Counter(str(p.reference) for p in tasks.get(name).problems("test", 1000))
    assert references.most_common(1)[0][1] <= 30


def test_far_and_near_lookups_are_balanced() -> None:
    lines = far = 0
    for problem in tasks.get("chain", shortest=6, longest=6).problems("train", 400):
        program = chain.read(problem.canonical)
        assert program is not None
        for i, s in enumerate(program[2:], 2):
            names = [p.name for p in program[:i]]
            used = [i - names.index(o) for o in (s.left, s.right) if o in names]
            lines += len(used)
            far += sum(d > 1 for d in used)
    assert 0.4 < far / lines < 0.6


def test_countdown_space_is_large() -> None:
    assert countdown.count_space(3, 50) == 109_507


@given(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.integers(1, 99))
@settings(max_examples=60, deadline=None)
def test_the_solver_agrees_with_brute_force(numbers: list[int], target: int) -> None:
    def all_values(pool: tuple[int, ...]) -> set[int]:
        if len(pool) == 1:
            return {pool[0]}
        found: set[int] = set()
        for i, j in itertools.permutations(range(len(pool)), 2):
            rest = tuple(x for k, x in enumerate(pool) if k not in (i, j))
            for value in (pool[i] + pool[j], pool[i] - pool[j], pool[i] * pool[j]):
                if 1 <= value <= 99:
                    found |= all_values((*rest, value))
        return found

    assert countdown.reachable(tuple(sorted(numbers))) >= ({target} & all_values(tuple(numbers)))
    assert countdown.reachable(tuple(sorted(numbers))) <= all_values(tuple(numbers))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("(12-7)*3", "correct"),
        ("3*(12-7)=15", "correct"),
        ("3 × (12 − 7)", "correct"),
        ("\\boxed{3*(12-7)}", "correct"),
        ("12+3", "wrong"),
        ("15", "wrong"),
        ("(12-7)*3+0", "wrong"),
        ("?", "wrong"),
        ("__import__('os').system('true')", "unparsed"),
        ("9**9**9", "unparsed"),
        ("(" * 100_000, "unparsed"),
        ("12-7)*3(", "unparsed"),
        ("3*(12-7)\x00", "unparsed"),
        ("", "unparsed"),
        (None, "unparsed"),
    ],
)
def test_countdown_grades(answer: str | None, outcome: str) -> None:
    task = tasks.get("countdown")
    assert task.grader.grade(task.problem([3, 7, 12], 15), answered(answer)).outcome == outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("29", "correct"),
        ("029", "correct"),
        (" 2 9 ", "correct"),
        ("30", "wrong"),
        ("-29", "wrong"),
        ("29.", "unparsed"),
        ("²⁹", "unparsed"),
        ("9" * 10_000, "unparsed"),
    ],
)
def test_integer_grades(answer: str, outcome: str) -> None:
    problem = tasks.translate("(3+4)*5-6")
    assert problem is not None
    assert tasks.get("chain").grader.grade(problem, answered(answer)).outcome == outcome


def test_a_false_hit_is_labelled() -> None:
    task = tasks.get("countdown")
    steps = task.steps(task.problem([3, 7, 12], 15), "12-7=5;5+3=8!")
    assert [s.sound for s in steps] == [True, False]
    assert "claims a hit" in steps[1].reason


def test_alive_means_the_target_is_still_in_reach() -> None:
    task = tasks.get("countdown")
    steps = task.steps(task.problem([3, 7, 12], 15), "12+7=19;19+3=22\n12-7=5;5*3=15!")
    assert [s.alive for s in steps] == [False, False, True, True]


def test_chain_noise_is_planted_only_when_asked() -> None:
    rng = random.Random(0)
    for noise, expected in ((0.0, 0.0), (0.5, 0.3)):
        task = tasks.get("chain", noise=noise)
        wrong = sum(
            not task.grader.grade(p, completion(task.demonstrate(p, "low", rng).text)).correct
            for p in task.problems("train", 100)
        )
        assert wrong / 100 >= expected and (noise > 0 or wrong == 0)


@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda e: st.tuples(e, st.sampled_from("+-*"), e).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
        max_leaves=8,
    )
)
def test_expressions_equal_exact_arithmetic(text: str) -> None:
    tree = parse(text)
    assert tree is not None
    assert tree.value == _fraction(text)
    again = parse(normal_form(tree))
    assert again is not None and again.value == tree.value and sorted(leaves(again)) == sorted(leaves(tree))


def _fraction(text: str) -> Fraction:
    """A second, independent evaluation: innermost brackets first."""
    import re

    values: list[Fraction] = []
    text = re.sub(r"\d+", lambda m: (values.append(Fraction(int(m[0]))), f"v{len(values) - 1}_")[1], text)
    while (match := re.search(r"\(v(\d+)_([-+*])v(\d+)_\)", text)) is not None:
        a, b = values[int(match[1])], values[int(match[3])]
        values.append(a + b if match[2] == "+" else a - b if match[2] == "-" else a * b)
        text = text[: match.start()] + f"v{len(values) - 1}_" + text[match.end() :]
    return values[int(text[1:-1])]


@given(st.integers(0, 10**8))
def test_places_round_trip(number: int) -> None:
    assert unplaced(placed(number)) == number


@pytest.mark.parametrize(
    ("text", "task", "reference"),
    [
        ("(3+4)*5-6", "chain", 29),
        ("347*28", "arithmetic", 9716),
        ("make", None, None),
        ("3, 7, 12 -> 33", "countdown", {"numbers": [3, 7, 12], "target": 33}),
        ("a=1+2;b=a*4?b", "chain", 12),
        ("(" * 10_000, None, None),
        ("9*9*9", None, None),
    ],
)
def test_translate(text: str, task: str | None, reference: object) -> None:
    problem = tasks.translate(text)
    assert (problem and problem.task, problem and problem.reference) == (task, reference)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("countdwon", {}, "countdown"),
        ("countdown", {"nubmers": [3]}, "numbers"),
        ("countdown", {"numbers": [9]}, "2 to 6"),
        ("chain", {"shortest": 9, "longest": 3}, "lengths"),
        ("arithmetic", {"operations": "/"}, "+-*"),
    ],
)
def test_wrong_names_and_values_say_what_to_do(name: str, options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("+", r"\+").replace("*", r"\*")):
        tasks.get(name, **options)


def test_a_space_that_is_too_small_says_so() -> None:
    with pytest.raises(ConfigError, match="only"):
        tasks.get("countdown", numbers=[2], highest=4).problems("test", 1000)


def test_ids_do_not_depend_on_the_order_of_the_numbers() -> None:
    task = tasks.get("countdown")
    assert task.problem([3, 7, 12], 33).id == task.problem([12, 3, 7], 33).id
    assert Problem.from_text("a").id != Problem.from_text("b").id
