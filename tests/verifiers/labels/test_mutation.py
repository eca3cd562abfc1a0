"""Mutants of reference programs and the labels of their steps, checked by hand and by a tiny interpreter."""

from __future__ import annotations

import ast
import json
import os
import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_interpreter import run

from ponder.errors import ConfigError, DataError, WorkError
from ponder.tasks import mutants as ms
from ponder.text import Tokenizer
from ponder.text.steps import cut, step_ids
from ponder.types import Demonstration, Grade, Message, Problem
from ponder.verifiers import samples
from ponder.verifiers.labels import layout
from ponder.verifiers.labels import mutation as mu

TOTAL = '''
def total(xs, n):
    """Sum of the first n above zero."""
    # a comment that goes
    s = 0
    for i in range(n):
        if xs[i] > 0:
            s += xs[i]
        else:
            continue
    return s
'''
CASES = [(([1, -2, 3, 5], 3), 4), (([2, 1], 2), 3), (([0, 4], 1), 0), (([7], 0), 0)]
PROBLEM = Problem((Message("user", "Write total(xs, n)."),), task="tiny")
TREE = ms.parse(TOTAL)


def passes(trials):
    return [right(trial.program) for trial in trials]


def right(program):
    return all(outcome(program, args) == value for args, value in CASES)


def outcome(program, args):
    try:
        return run(program, *args)
    except Exception:
        return "failed"


def after(line: str, operator: str, source: str = TOTAL) -> set[str]:
    """What the line `line` becomes under an operator; an empty text where it goes."""
    tree = ms.parse(source)
    plain = ms.mutated(tree, ()).text.splitlines()
    found = set()
    for edit in ms.edits(tree):
        lines = ms.mutated(tree, [edit]).text.splitlines()
        at = next((i for i, (a, b) in enumerate(zip(plain, lines, strict=False)) if a != b), len(lines))
        if edit.operator == operator and plain[at].strip() == line:
            found.add(lines[at].strip() if len(lines) == len(plain) else "")
    return found


@pytest.mark.parametrize(
    ("source", "operator", "becomes"),
    [
        ("if a < b:\n    f(1)", "comparison", {"if a <= b:", "if a >= b:"}),
        ("x = a == b", "comparison", {"x = a != b"}),
        ("x = a not in b", "comparison", {"x = a in b"}),
        ("x = a // b", "arithmetic", {"x = a / b"}),
        ("x = a // b", "argument", {"x = b // a"}),
        ("x = a + b * c", "arithmetic", {"x = a - b * c", "x = a + (b + c)"}),
        ("x -= y", "arithmetic", {"x += y"}),
        ("x = 0", "constant", {"x = 1", "x = -1"}),
        ("x = y - 1", "constant", {"x = y - 2"}),
        ("x = a and b", "boolean", {"x = a or b"}),
        ("x = not a", "boolean", {"x = a"}),
        ("x = True", "boolean", {"x = False"}),
        ("while a:\n    f(1)", "boolean", {"while not a:"}),
        ("x = range(n - 1)", "bound", {"x = range(n)", "x = range(n - 2)"}),
        (
            "x = range(a, b, c)",
            "bound",
            {f"x = range({e}, c)" for e in ("a + 1, b", "a - 1, b", "a, b + 1", "a, b - 1")},
        ),
        ("x = y[a:]", "bound", {"x = y[a + 1:]", "x = y[a - 1:]"}),
        ("x = f(a, b, c)", "argument", {"x = f(b, a, c)", "x = f(a, c, b)"}),
        ("x = f(a, a)", "argument", set()),
        ("x = f(*a, b)", "argument", set()),
        ("x = f'{a + 1}'", "constant", set()),
    ],
)
def test_operators_by_hand(source, operator, becomes):
    assert after(source.splitlines()[0], operator, source + "\nend = 'here'\n") == becomes


def test_return_drop_and_pass():
    assert after("return s", "return") == {"return None", "return xs", "return n", "return i"}
    assert after("return s", "drop") == set()
    assert after("s += xs[i]", "drop") == {"pass"}
    assert after("s = 0", "drop") == {""}
    assert after("return 1", "drop", "def f(x):\n    if x:\n        return 1\n    return 2") == {"pass"}


def test_steps_are_statements_and_layout_is_gone():
    found = ms.mutated(TREE, ())
    assert found.steps == (
        'def total(xs, n):\n    """Sum of the first n above zero."""\n',
        "    s = 0\n",
        "    for i in range(n):\n",
        "        if xs[i] > 0:\n",
        "            s += xs[i]\n",
        "        else:\n            continue\n",
        "    return s\n",
    )
    assert found.places == (0, 1, 2, 3, 4, 5, 6)


def test_blocks_of_every_kind_are_cut_and_joined():
    source = '''"""Module."""
@wraps(1)
class A(B):
    """Doc."""

    @staticmethod
    async def f(x: int = 1, *, y: str = "a\\nb") -> list[int]:
        try:
            with open(x) as g, h:
                pass
        except (E, F) as e:
            raise
        else:
            x = """two
lines"""
        finally:
            del x
        match x:
            case [1, y] if y > 2:
                return f"""{x}
{y}"""
            case _:
                await x
        while x: x -= 1; break
        return [i for i in x if i > 1]
'''
    tree = ms.parse(source)
    whole = ms.mutated(tree, ())
    assert whole.text == ast.unparse(ast.parse(source)) + "\n" and len(whole.steps) == 15
    for edit in ms.edits(tree):
        mutant = ms.mutated(tree, [edit])
        assert mutant.text != whole.text and len(mutant.steps) == len(mutant.places)
        assert list(mutant.places) == sorted(set(mutant.places))
        ast.parse(mutant.text)


def edit(line: str, operator: str, becomes: str) -> ms.Edit:
    """The fault that makes `becomes` of the step that begins with `line`."""
    whole = ms.mutated(TREE, ())
    place = next(i for i, step in enumerate(whole.steps) if step.strip().startswith(line))
    held = [e for e in ms.edits(TREE) if e.statement == place and e.operator == operator]
    return next(e for e in held if any(s.strip() == becomes for s in ms.mutated(TREE, [e]).steps) or not becomes)


def labelled(*faults: ms.Edit) -> list[float | None]:
    ordered = sorted(faults)
    programs = [ms.mutated(TREE, ordered[: i + 1]) for i in range(len(ordered))]
    mutant = mu.Mutant(tuple(ordered), programs[-1], tuple(p.text for p in programs))
    return mu.labels(mutant, [right(text) for text in mutant.prefixes])


def test_labels_by_hand():
    harmless = edit("if", "comparison", "if xs[i] >= 0:")  # adding zero changes nothing
    wrong = edit("s = 0", "constant", "s = 1")
    late = edit("return", "return", "return n")
    assert labelled(harmless) == [1] * 7
    assert labelled(wrong) == [1, 0, 0, 0, 0, 0, 0]
    assert labelled(harmless, late) == [1, 1, 1, 1, 1, 1, 0]
    assert labelled(wrong, late) == [1, 0, 0, 0, 0, 0, 0]


def test_a_dropped_statement_is_met_at_the_step_behind_its_place():
    assert labelled(edit("s = 0", "drop", "")) == [1, 0, 0, 0, 0, 0]


def test_what_is_not_known_has_no_label_and_a_later_repair_does_not_unbreak():
    mutant = mu.Mutant((ms.Edit(1, 0, "a"), ms.Edit(3, 0, "b")), ms.Written(("x",) * 5, tuple(range(5))), ("", ""))
    assert mu.labels(mutant, [None, False]) == [1, None, None, 0, 0]
    assert mu.labels(mutant, [None, True]) == [1, None, None, 1, 1]
    assert mu.labels(mutant, [False, True]) == [1, 0, 0, 0, 0]


def test_equal_programs_are_known_and_different_ones_kept_apart():
    assert ms.fingerprint("x = 1 + 2\n") == ms.fingerprint("x = 3\n\n# said\n")
    assert ms.fingerprint("x = 1") != ms.fingerprint("x = True") != ms.fingerprint("x = 1.0")
    assert ms.fingerprint("def f(a, b):\n return a") != ms.fingerprint("def f(a, b):\n return b")
    assert ms.fingerprint("return 5") == "return 5"  # outside a function: does not compile


def test_rows_round_trip_and_every_label_is_what_the_interpreter_says(tmp_path):
    counts = mu.Counts()
    found = list(mu.rows([mu.Reference(PROBLEM, TOTAL)], passes, mu.Recipe(mutants=25, faults=3, seed=4), counts))
    assert samples.write(tmp_path / "rows.jsonl", found) == len(found) == counts.rows > 15
    assert list(samples.read(tmp_path / "rows.jsonl")) == found
    first, *wrong = found
    assert set(first.labels) == {1.0} and first.correct and first.source == "mutation none"
    assert len({"".join(r.texts) for r in found}) == len(found)
    for row in wrong:
        program = "".join(row.texts).removeprefix("```python\n").removesuffix("```")
        assert row.correct is False and not right(program)
        assert row.labels[0] == 1.0 and row.labels[-1] == 0.0 and list(row.labels) == sorted(row.labels, reverse=True)
    assert counts.same + counts.survived > 0 and counts.failing == counts.unknown == 0
    assert {kind for r in wrong for kind in r.source.removeprefix("mutation ").split("+")} >= {
        "drop",
        "return",
        "constant",
    }


def test_the_seed_decides():
    def texts(seed):
        return [m.program.text for m in mu.mutants(TREE, mu.Recipe(seed=seed), mu.Counts())]

    assert texts(1) == texts(1) != texts(2)


def test_survivors_failures_and_trouble_are_counted_not_labelled():
    def count(check, source=TOTAL):
        counts = mu.Counts()
        return list(mu.rows([mu.Reference(PROBLEM, source)], check, mu.Recipe(mutants=5, faults=1), counts)), counts

    rows, counts = count(lambda trials: [True] * len(trials))
    assert len(rows) == 1 and counts.survived == 5
    rows, counts = count(lambda trials: [False] * len(trials))
    assert rows == [] and counts.failing == 1
    rows, counts = count(lambda trials: [True if t.program == ms.mutated(TREE, ()).text else None for t in trials])
    assert len(rows) == 1 and counts.unknown == 5
    for source in ("def f(:", "", '"""only a docstring"""', "x = 1\0", "(" * 5000, "x = 1\n" * 20_000):
        rows, counts = count(passes, source)
        assert rows == [] and counts.unread == 1
    with pytest.raises(WorkError, match="0 verdicts"):
        count(lambda trials: [])


def test_wrong_settings():
    with pytest.raises(ConfigError, match="at least one"):
        mu.Recipe(mutants=0)
    with pytest.raises(DataError, match="not a Python program"):
        ms.parse("def f(:")


def test_a_check_through_a_grader_is_one_batch_with_the_limit_that_was_asked_for():
    grades = {"right": Grade(1.0, "correct"), "wrong": Grade(0.0, "timeout"), "down": Grade(None, "error")}
    seen = []

    def many(pairs):
        seen.append([reference for reference, _ in pairs])
        return [grades[text.removeprefix("```python\n").removesuffix("\n```")] for _, text in pairs]

    problem = Problem((Message("user", "x"),), {"asserts": "assert f(1)", "cpu_seconds": 6})
    trials = [mu.Trial(problem, "right", 0.5), mu.Trial(problem, "wrong"), mu.Trial(PROBLEM, "down", 0.5)]
    assert mu.by_grader(many)(trials) == [True, False, None]
    assert seen == [[{**problem.reference, "cpu_seconds": 0.5}, problem.reference, None]]


def test_references_and_mutants_are_a_call_each_and_slow_references_get_their_own_time():
    calls = []

    def check(trials):
        calls.append([(t.problem.text, t.seconds) for t in trials])
        return [t.seconds is None if t.problem.text == "slow" else True for t in trials]

    two = [mu.Reference(Problem.from_text(name), TOTAL) for name in ("quick", "slow")]
    counts = mu.Counts()
    found = mu.rows(two, check, mu.Recipe(mutants=2, faults=1, seconds=3.0), counts)
    assert calls[:2] == [[("quick", 1.5), ("slow", 1.5)], [("slow", None)]]
    assert len(calls) == 3 and set(calls[2]) == {("quick", 3.0), ("slow", None)}
    assert [len(found), counts.references, counts.survived] == [2, 2, 4]


def test_a_reference_is_the_program_of_a_demonstration_and_rows_keep_what_stands_around_it():
    shown = Demonstration(PROBLEM, f"<think>how</think>So:\n```python{TOTAL}```\nDone.")
    found = mu.Reference.of(shown)
    assert found.before == "<think>how</think>So:\n```python\n" and found.after == "\n```\nDone."
    (row,) = mu.rows([found], passes, mu.Recipe(mutants=1, faults=1), mu.Counts(), split="dev", effort="low")[:1]
    assert "".join(row.texts) == found.before + ms.mutated(TREE, ()).text.strip() + found.after
    assert (row.split, row.effort) == ("dev", "low")
    assert mu.Reference.of(Demonstration(PROBLEM, "<think>never closed")) is None


def test_a_compact_reference_has_compact_rows():
    program = "def f(x):\n for i in range(3):\n  x=x+-i if x>2 else 1\n return not x"
    found = mu.Reference(PROBLEM, program, before="<think></think>", after="")
    assert found.compact and not mu.Reference(PROBLEM, TOTAL).compact
    check = lambda trials: [t.program == ms.mutated(ms.parse(program), ()).text for t in trials]  # noqa: E731
    rows = mu.rows([found], check, mu.Recipe(mutants=9, faults=1), mu.Counts())
    assert "".join(rows[0].texts) == f"<think></think>{program}"
    assert rows[0].texts[1:] == (" for i in range(3):\n", "  x=x+-i if x>2 else 1\n", " return not x")
    for row in rows:
        text = "".join(row.texts).removeprefix("<think></think>")
        assert layout.compact(text + "\n") == text + "\n" and ast.parse(text)
    assert layout.compact('x = """a\nb"""\n') is None and layout.laid_out(("x = (\n",)) == ("x = (\n",)


def test_compact_rows_are_cut_where_a_search_with_a_small_model_cuts():
    program = "def f(x):\n if x>2:\n  x=x+1\n else:\n  x=x+2\n return x"
    check = lambda trials: [t.program == ms.mutated(ms.parse(program), ()).text for t in trials]  # noqa: E731
    reference = mu.Reference(PROBLEM, program, before="<think></think>", after="")
    rows = mu.rows([reference], check, mu.Recipe(mutants=30, faults=1), mu.Counts())
    tokenizer = Tokenizer.mini()
    for row in rows:
        ids = tokenizer.encode("".join(row.texts))
        assert samples.tokenized(row, tokenizer).starts == cut(ids, step_ids(tokenizer)) and len(row.labels) == len(
            row.texts
        )
    labels = {"".join(row.texts[1:]): row.labels for row in rows}
    assert labels[" if x>2:\n  x=x+1\n else:\n  x=x-2\n return x"] == (1, 1, 1, None, 0, 0)
    assert labels[" if x>2:\n  x=x-1\n else:\n  x=x+2\n return x"] == (1, 1, 0, 0, 0, 0)
    assert labels[" if x>2:\n  x=x+1\n else:\n  x=x+2\n return None"] == (1, 1, 1, 1, 1, 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_labels_never_rise_and_prefixes_end_in_the_program(seed, faults):
    for mutant in mu.mutants(TREE, mu.Recipe(mutants=3, faults=faults, seed=seed), mu.Counts()):
        found = mu.labels(mutant, [right(text) for text in mutant.prefixes])
        assert mutant.prefixes[-1] == mutant.program.text and len(mutant.faults) <= faults
        assert len(found) == len(mutant.program.steps) and found == sorted(found, reverse=True)


DATA = Path(os.environ.get("PONDER_DATA", "/nowhere")) / "code" / "mbpp.jsonl"


@pytest.mark.skipif(not DATA.is_file(), reason="PONDER_DATA has no code/mbpp.jsonl")
@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_every_fault_of_public_references_can_be_written(every):
    lines = DATA.read_text(encoding="utf-8").splitlines()[::every]
    for line in lines:
        tree = ms.parse(json.loads(line)["code"])
        whole = ms.mutated(tree, ())
        assert whole.text == ast.unparse(tree) + "\n" and list(whole.places) == list(range(len(whole.steps)))
        for fault in ms.edits(tree):
            mutant = ms.mutated(tree, [fault])
            assert mutant.text != whole.text and len(mutant.steps) == len(mutant.places) and all(mutant.steps)


def test_the_page_prints_what_it_says(capsys):
    page = (Path(__file__).parents[3] / "docs/code-labels.md").read_text()
    code, said = re.findall(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", page, re.DOTALL)[0]
    exec(code, {})
    assert capsys.readouterr().out == textwrap.dedent(said)
