"""Inputs of a problem: how they are written, made, checked by validators and candidates, and run with patience."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.graders.same import Policy, same
from ponder.sandbox.jobs import Job, Result
from ponder.search import submit_form, submit_inputs, submit_mutate, submit_tests
from ponder.search.submit import Output, Program
from ponder.search.submit_form import Form
from ponder.search.submit_inputs import Boxed, Input, Run
from ponder.search.submit_tests import Wanted

CALLS = {
    "entry": "f",
    "cases": [[[[3], "x"], 1]],
    "visible": {"cases": [[[[1, 2], "a"], 3], [[[], "b"], {"k": (1,)}, 0]]},
}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3)
        | st.frozensets(st.integers() | st.text(max_size=2), max_size=3)
    ),
    max_leaves=6,
)


def test_a_form_holds_what_is_shown_and_nothing_hidden():
    form = Form.of(CALLS)
    assert form.entry == "f"
    assert form.seeds == ("[[1, 2], 'a']", "{'args': [[], 'b'], 'kwargs': {'k': (1,)}}")
    assert "3" not in "".join(form.seeds) and "'x'" not in repr(form)
    assert Form.of({"stdin": [["9\n", "8\n"]], "visible": {"stdin": [["1\n", "2\n"]]}}).seeds == ("1\n",)
    assert Form.of({"stdin": [["9\n", "8\n"]]}).seeds == ()
    assert Form.of({"asserts": "assert g(1) == 2", "visible": {"asserts": "assert g(5) == 6"}}).entry == "g"
    with pytest.raises(ValueError, match="give one of"):
        Form.of({})


def test_inputs_of_calls_are_read_as_literals_only():
    form = Form.of(CALLS)
    job = form.job("def f(*a, **k): return a, k", form.seeds[1])
    assert job is not None and (job.kind, job.args, dict(job.kwargs)) == ("call", ([], "b"), {"k": (1,)})
    for text in ("__import__('os')", "[1, x]", "3", "{'args': 1, 'kwargs': {}}", "[" * 9999, "", "[1]*10**9"):
        assert form.job("def f(): pass", text) is None, text
    assert submit_form.text_of(([float("nan")],), {}) is None


def twin(value: object) -> object:
    """The value in other types: tuples for lists, floats for integers, integers for truth values, -0.0 for 0.0."""
    match value:
        case bool():
            return int(value)
        case float():
            return value if value else -value
        case int():
            return float(value) if abs(value) < 2**53 else value
        case list():
            return tuple(map(twin, value))
        case tuple():
            return list(map(twin, value))
        case dict():
            return {k: twin(v) for k, v in reversed(value.items())}
        case frozenset():
            return set(value)
        case _:
            return value


@given(PLAIN, PLAIN)
@settings(max_examples=50, deadline=None)
def test_equal_texts_are_the_same_values(a: object, b: object):
    for types in ("strict", "json", "python"):
        policy = Policy(types)
        for other in (a, b, twin(a)):
            alike = submit_form.written(a, policy) == submit_form.written(other, policy)
            known = types == "python" and "nan" in repr(a)  # which differs from itself there
            assert alike == same(a, other, policy) or known, (types, a, other)


def test_what_a_policy_forgives_is_no_difference():
    def texts(types: str, *values: object, **more: object) -> set[str]:
        return {submit_form.written(v, Policy(types, **more)) for v in values}  # type: ignore[arg-type]

    assert len(texts("strict", 1, True, 1.0, [1], (1,), {1: 2}, {True: 2})) == 7
    assert len(texts("json", [1, 2.0], (1.0, 2))) == 1 and len(texts("json", True, 1)) == 2
    assert len(texts("json", {1: 2}, {"1": 2})) == 1
    assert len(texts("python", 1, True, 1.0)) == 1 and len(texts("python", [1], (1,))) == 2
    assert len(texts("strict", [2, 1], [1, 2], unordered=True)) == 1
    assert len(texts("strict", 0.1 + 0.2, 0.3, tolerance=1e-6)) == 1
    assert (
        len(texts("strict", 1e20, 1e20 + 1e12, tolerance=1e-6)) == 1
        and len(texts("strict", 1.0, 1.1, tolerance=1e-6)) == 2
    )
    assert submit_form.written(10**5000, Policy()).startswith("0x")
    assert submit_form.printed("b 1.0000000001 \r\na\n\n", Policy(tolerance=1e-6, unordered=True)) == "a\nb 1.0"


def test_long_outputs_are_kept_as_their_hash():
    one, two = (Form().output(Result("ok", stdout="7" * 900_000 + end)) for end in "12")
    assert len(one.text) < 260 and one != two
    assert Form().output(Result("ok", stdout="1 \n\n")) == Output("ok", "1")
    assert [Form().output(Result(s)).status for s in ("timeout", "infra", "memory", "output")] == [
        "timeout", "infra", "error", "error",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seeds", "calls"), [(("3\n1 2 3\n",), False), (("[[1, 2], 'ab', {'k': 1.5}, (True, None)]",), True)]
)
def test_mutants_are_new_different_and_the_same_for_a_seed(seeds: tuple[str, ...], calls: bool):
    made = submit_mutate.mutants(seeds, 30, seed=3, calls=calls)
    texts = [one.text for one in made]
    assert len(set(texts)) == 30 and not set(texts) & set(seeds)
    assert made == submit_mutate.mutants(seeds, 30, seed=3, calls=calls)
    assert made != submit_mutate.mutants(seeds, 30, seed=4, calls=calls)
    if calls:
        assert all(submit_form.arguments(text) is not None for text in texts)
    else:
        counted = [t for t in texts if (rows := t.split("\n"))[0] == str(len(rows[1].split()))]
        assert len({t.split("\n")[0] for t in counted}) > 2  # lists of other lengths that say so
    assert submit_mutate.mutants((), 5) == []
    assert submit_mutate.mutants(("[]",), 5, calls=True) == []


class Box:
    """Runs what a program's text says: `slow` is always late, `echo` prints what it reads, …; counts the runs."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, jobs: list[Job]) -> list[Result]:
        self.runs += len(jobs)
        return [self.one(job) for job in jobs]

    def one(self, job: Job) -> Result:
        text = job.stdin
        match job.code:
            case "slow":
                return Result("timeout")
            case "echo":
                return Result("ok", stdout=text)
            case "down":
                return Result("infra")
            case "yes":
                return Result("ok", stdout="valid")
            case "no":
                return Result("ok", stdout="invalid")
            case "digits":
                return Result("ok", stdout="Valid\n" if text.strip().isdigit() else "no")
            case "below 5":
                small = text.strip().lstrip("-").isdigit() and int(text) < 5
                return Result("ok", stdout="yes") if small else Result("raised")
            case "numbers":
                return Result("ok", stdout=str(int(text) % 7 + 1))
            case _:
                return Result("raised")


def test_a_program_that_is_always_late_is_not_run_forever():
    box, told = Box(), list[int]()
    runner = Boxed(box, told=told.append)
    outputs = runner([Run(code, str(i)) for code in ("slow", "echo", "down") for i in range(50)])
    assert [o.status for o in outputs] == ["timeout"] * 50 + ["ok"] * 50 + ["infra"] * 50
    assert [o.text for o in outputs[50:100]] == [str(i) for i in range(50)]
    assert box.runs == 3 + 50 + 50 and sum(told) == 150


def test_only_validators_that_can_tell_are_heard():
    found = submit_tests.heard(
        Boxed(Box()), ["yes", "no", "crash", "slow", "digits", "down", "below 5"], ["1\n", "2\n"]
    )
    assert found == ["digits", "below 5"]
    assert submit_tests.heard(Boxed(Box()), [], ["1"]) == []


def test_generators_then_validators_then_a_vote_of_the_candidates():
    form = Form.of({"stdin": [["1", "1"]], "visible": {"stdin": [["1\n", "1\n"]]}})
    run = Boxed(Box())
    checked = submit_tests.inputs_for(
        form, Wanted(4, ("numbers", "crash"), ("digits", "below 5", "yes")), run, run, ["echo"]
    )
    assert (checked.source, checked.judge, checked.heard, checked.validators) == ("generators", "validators", 2, 3)
    assert sorted(one.text for one in checked.inputs) == [
        "2",
        "3",
        "4",
    ]  # 1 is shown, 5 and more are refused by one of two
    voted = submit_tests.inputs_for(
        form, Wanted(4, ("numbers",), ("yes",)), run, run, ["below 5", "echo", "crash", "below 5"]
    )
    assert voted.judge == "candidates" and {one.text for one in voted.inputs} == {"2", "3", "4"}
    assert voted.heard == 0


def test_without_a_generator_that_works_the_visible_inputs_are_changed():
    form = Form.of({"stdin": [["1", "1"]], "visible": {"stdin": [["4\n", "1\n"]]}})
    run = Boxed(Box())
    found = submit_tests.inputs_for(form, Wanted(5, ("crash", "slow")), run, run, ["below 5", "crash", "echo"])
    assert found.source == "mutation" and found.inputs
    assert all(int(one.text) < 5 for one in found.inputs)
    nothing = submit_tests.inputs_for(Form.of({"stdin": [["1", "1"]]}), Wanted(5), run, run, ["echo"])
    assert (nothing.source, nothing.inputs) == ("none", ())


def test_inputs_for_a_call_fit_its_arguments():
    form = Form.of(CALLS)
    one = submit_tests.from_replies(
        [
            ("inputs", "```\n[[5], 'q']\n```\n```\nimport os\n```\n```\n[1]\n```\n"),
            ("generator", "no program"),
            ("validator", ""),
        ],
        Wanted(5),
    )
    assert one.generators == ("no program",) and one.validators == ()
    kept = submit_tests._fit(form, submit_tests._proposed(one, Boxed(Box())))
    assert [i.text.strip() for i in kept] == ["[[5], 'q']"]


def test_inputs_are_bounded_in_all():
    inputs = [Input(str(i), "x" * size) for i, size in enumerate((60, 60, 30, 10))]
    assert [i.id for i in submit_tests.within(inputs, 100)] == ["0", "2", "3"]


def test_prompts_say_what_an_input_is():
    for ask in ("generator", "validator", "inputs"):
        text = submit_tests.prompt(ask, "Q {x}", Form.of(CALLS), 1)
        assert text.startswith("Q {x}\n\nDo not solve") and "[[1, 2], 'a']" in text
        assert "list of the arguments" not in submit_tests.prompt(ask, "Q", Form())
    assert len({submit_tests.prompt("generator", "Q", Form(), n) for n in range(8)}) == 4


def test_outputs_are_made_once_a_code():
    box = Box()
    twins = [Program(name, "a", "echo") for name in "xy"]
    done = submit_inputs.with_outputs(Boxed(box), twins, [Input("i", "5")])
    assert box.runs == 1 and [p.outputs["i"].text for p in done] == ["5", "5"]
