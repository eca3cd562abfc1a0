"""Submissions: filtered by public tests, clustered by outputs, ranked, handed in round robin; hand-worked throughout."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.errors import ConfigError, DataError, WorkError
from ponder.sandbox.jobs import Result
from ponder.search import submit, submit_files, submit_inputs, submit_score
from ponder.search.submit import Output, Program, Subtask, Weights


def prog(name: str, outs: str = "", subtask: str = "a", **known: object) -> Program:
    """A program whose outputs on inputs 0, 1, … are the letters of `outs`; `!` is an error, `?` unknown."""
    kinds = {"!": Output("error"), "?": Output("infra")}
    outputs = {f"{subtask}{i}": kinds.get(letter, Output("ok", letter)) for i, letter in enumerate(outs)}
    return Program(**{"id": name, "subtask": subtask, "code": f"code of {name}", "outputs": outputs, **known})  # type: ignore[arg-type]


def names(plan: submit.Plan) -> list[str]:
    return [s.program.id for s in plan.submissions]


TWO = ("a0", "a1")
A = Subtask("a", 30.0, 1.0, TWO)
B = Subtask("b", 70.0, 2.0, ("b0", "b1"), includes=("a",))


def test_public_tests_filter_and_the_harness_trouble_is_not_a_failure():
    good, lost, bad = prog("g", public=(True, True)), prog("l", public=(True, None)), prog("b", public=(True, False))
    assert submit.keep([good, lost, bad]) == ([good, lost], False)
    worse = prog("w", public=(False, False))
    assert submit.keep([bad, worse]) == ([bad], True)
    assert submit.keep([]) == ([], False)


def test_clusters_hold_identical_outputs_and_no_guess():
    programs = [prog("1", "xy"), prog("2", "xy"), prog("3", "x!"), prog("4", "x?"), prog("5", "x?"), prog("6", "x")]
    found = submit.clusters(programs, TWO)
    assert sorted(sorted(p.id for p in c.programs) for c in found) == [["1", "2"], ["3"], ["4"], ["5"], ["6"]]
    assert {c.programs[0].id: c.errors for c in found}["3"] == 0.5
    assert len(submit.clusters(programs, ())) == 6


def test_outputs_compare_as_contests_do():
    ends, plain, other = (replace(prog(t), outputs={"a0": Output("ok", t)}) for t in ("1 2 \n3\n\n", "1 2\n3", "12\n3"))
    assert sorted(len(c.programs) for c in submit.clusters([ends, plain, other], ("a0",))) == [1, 2]


def test_a_printed_error_is_no_error():
    assert len(submit.clusters([prog("1", "!"), prog("2", ""), replace(prog("3", "x"), id="4")], ("a0",))) == 3


def test_rank_by_hand():
    cluster = submit.Cluster((prog("1"), prog("2")), errors=0.5, learned=0.75, tie="")
    assert submit.rank(cluster, total=8, submitted=3, weights=Weights(1.0, 2.0, 4.0, 0.5)) == 0.25 - 1.0 + 3.0 - 1.5
    assert submit.rank(replace(cluster, learned=None), 8, 0, Weights()) == 0.25 - 0.5


def test_the_large_cluster_first_then_the_penalty_turns_to_others():
    programs = [prog("1", "xx", learned=0.0), prog("2", "xx", learned=0.1), prog("3", "xx", learned=0.2)]
    programs += [prog("4", "yy", learned=0.1)]
    # x: 3/4 + mean 0.1 = 0.85, then 0.6, then 0.35; y: 1/4 + 0.1 = 0.35 and a tie with the third of x
    plan = submit.choose([A], programs, weights=Weights(repeat=0.25))
    assert names(plan)[:2] == ["3", "2"] and set(names(plan)[2:]) == {"1", "4"}
    assert names(submit.choose([A], programs, weights=Weights(repeat=0.6))) == ["3", "4", "2", "1"]
    assert names(submit.choose([A], programs))[:2] == [
        "3",
        "4",
    ]  # unless told, every cluster has a turn before any has two


def test_round_robin_hardest_first_until_solved():
    programs = [prog(n, o) for n, o in (("a1", "xx"), ("a2", "yy"))] + [
        prog(n, o, "b", outputs={"b0": Output("ok", o)}) for n, o in (("b1", "x"), ("b2", "y"), ("b3", "z"))
    ]
    flat = [A, replace(B, includes=())]
    plan = submit.choose(flat, programs)
    assert [s.subtask for s in plan.submissions] == ["b", "a", "b", "a", "b"] and plan.solved == ()
    plan = submit.choose(flat, programs, lambda p: {p.subtask: float(p.id == "a1")}, seed=1)
    turns = [s.subtask for s in plan.submissions]
    assert (
        plan.solved == ("a",)
        and turns.count("b") == 3
        and names(plan).index("a1") == max(i for i, t in enumerate(turns) if t == "a")
    )
    plan = submit.choose(flat, programs, lambda p: {"a": 1.0, "b": 1.0})
    assert len(plan.submissions) == 1 and plan.solved == ("b", "a")


def test_half_the_points_is_not_solved():
    plan = submit.choose([A], [prog("1", "xx"), prog("2", "yy")], lambda p: {"a": 0.5})
    assert len(plan.submissions) == 2 and plan.solved == ()


def test_a_solved_part_narrows_the_whole():
    def whole(name: str, part: str, learned: float) -> Program:
        outputs = {
            "b0": Output("ok", name),
            "b1": Output("ok", name),
            "a0": Output("ok", part),
            "a1": Output("ok", part),
        }
        return prog(name, subtask="b", outputs=outputs, learned=learned)

    programs = [prog("solver", "xx"), whole("p", "w", 0.9), whole("q", "w", 0.8), whole("r", "x", 0.1)]
    judge = {"solver": {"a": 1.0}}
    assert names(submit.choose([A, B], programs, lambda p: judge.get(p.id, {}))) == ["p", "solver", "r"]
    assert names(submit.choose([A, B], programs)) == ["p", "solver", "q", "r"]
    wrong = [p for p in programs if p.id != "r"]
    assert names(submit.choose([A, B], wrong, lambda p: judge.get(p.id, {}))) == ["p", "solver", "q"]


def test_the_same_code_is_handed_in_once():
    programs = [prog("1", "xx", code="same"), prog("2", "xx", code="same\n"), prog("3", "yy", "b", code="same")]
    assert len(submit.choose([A, B], programs).submissions) == 1


def test_no_program_passes_the_public_tests():
    plan = submit.choose([A], [prog("1", public=(False, True)), prog("2", public=(False, False))])
    assert names(plan) == ["1"] and plan.relaxed == ("a",)


@pytest.mark.parametrize(
    ("programs", "options", "says"),
    [
        ([prog("1"), prog("1")], {}, "given twice"),
        ([prog("1", subtask="z")], {}, "no subtask 'z'"),
        ([prog("1", learned=math.nan)], {}, "not finite"),
        ([], {"limit": 51}, "from 1 to 50"),
        ([], {"limit": 0}, "from 1 to 50"),
        ([], {"weights": Weights(size=math.inf)}, "finite"),
    ],
)
def test_wrong_input_is_named(programs, options, says):
    with pytest.raises((DataError, ConfigError), match=says):
        submit.choose([A, B], programs, **options)


def test_subtasks_that_do_not_fit():
    with pytest.raises(DataError, match="given twice"):
        submit.choose([A, A], [])
    with pytest.raises(DataError, match="does not exist"):
        submit.choose([B], [])


PROGRAMS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.text("xy!?", min_size=2, max_size=2),
        st.sampled_from([None, 0.0, 0.5, 1.0]),
        st.lists(st.sampled_from([True, True, False, None]), max_size=2),
    ),
    max_size=70,
)


@settings(max_examples=60, deadline=None)
@given(PROGRAMS, st.integers(1, 50), st.integers(0, 5), st.randoms(use_true_random=False))
def test_never_more_than_the_limit_and_order_is_irrelevant(rows, limit, seed, random):
    programs = [
        prog(f"p{i}", outs, task, learned=learned, public=tuple(public))
        for i, (task, outs, learned, public) in enumerate(rows)
    ]
    solves = {p.id: {"a": float(i % 7 == 3), "b": (i % 3) / 2} for i, p in enumerate(programs)}
    plan = submit.choose([A, B], programs, lambda p: solves[p.id], limit=limit, seed=seed)
    assert len(plan.submissions) <= limit <= 50 and len(set(names(plan))) == len(plan.submissions)
    shuffled, subtasks = random.sample(programs, len(programs)), random.sample([A, B], 2)
    assert submit.choose(subtasks, shuffled, lambda p: solves[p.id], limit=limit, seed=seed) == plan
    kept = {p.id for t in "ab" for p in submit.keep([q for q in programs if q.subtask == t])[0]}
    assert set(names(plan)) <= kept


def test_many_samples_are_cut_at_fifty():
    assert len(submit.choose([A], [prog(f"p{i}", f"{i % 9}{i % 7}") for i in range(200)]).submissions) == 50


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=8), st.integers(1, 9))
def test_expected_best_equals_enumeration(shares, k):
    subsets = list(itertools.combinations(shares, min(k, len(shares))))
    exact = float(sum(Fraction(max(s)) for s in subsets) / len(subsets))
    assert submit_score.expected_best(shares, k) == exact


def test_expected_best_by_hand():
    # 4 samples, one right, two drawn: 1 - C(3, 2) / C(4, 2) = 1/2
    assert submit_score.expected_best([1.0, 0.0, 0.0, 0.0], 2) == 0.5
    assert submit_score.expected_best([], 50) == 0.0
    # 10,000 samples of which 100 right: 1 - C(9900, 50) / C(10000, 50)
    assert submit_score.expected_best([1.0] * 100 + [0.0] * 9900, 50) == pytest.approx(
        1 - math.comb(9900, 50) / math.comb(10_000, 50), abs=1e-15
    )
    with pytest.raises(ConfigError, match="at least one"):
        submit_score.expected_best([1.0], 0)


def test_report_by_hand():
    programs = [prog("1", "xx"), prog("2", "xx"), prog("3", "yy", public=(False,)), prog("4", subtask="b")]
    truth = {"1": {"a": 1.0}, "2": {"a": 1.0}, "3": {}, "4": {"a": 0.5, "b": 0.5}}
    plan = submit.choose([A, B], programs, lambda p: truth[p.id], limit=2)
    found = submit_score.report([A, B], programs, plan, truth, limit=2)
    assert found.chosen == 30 + 35 and found.by_subtask == {"a": 30.0, "b": 35.0}
    # a: largest of two of (1, 1, 0, .5): 5 of 6 pairs hold a 1, one is (0, .5); b: half the pairs hold the .5
    assert found.random == pytest.approx(30 * (5 + 0.5) / 6 + 70 * 0.25)
    # without 3: every pair holds a 1; two of three pairs hold 4
    assert found.random_kept == pytest.approx(30 + 70 * 0.5 * 2 / 3)
    assert (found.every, found.possible, found.submissions, found.samples) == (65.0, 100.0, 2, 4)


def test_report_wants_every_verdict():
    plan = submit.choose([A], [prog("1")])
    with pytest.raises(DataError, match="no hidden verdict"):
        submit_score.report([A], [prog("1")], plan, {})
    with pytest.raises(DataError, match="outside"):
        submit_score.report([A], [prog("1")], plan, {"1": {"a": 2.0}})


def test_three_of_four_validators_agree_exactly():
    assert submit_inputs.agreed([True, True, True, False])
    assert not submit_inputs.agreed([True, True, False])
    assert submit_inputs.agreed([True, True, True, None, False]) and submit_inputs.agreed([None]) is not True
    assert not submit_inputs.agreed([])
    assert submit_inputs.agreed([True] * 7 + [False] * 3, share=0.7)
    with pytest.raises(ConfigError, match="share"):
        submit_inputs.agreed([True], share=0.0)


def test_inputs_from_a_function_are_distinct():
    found = submit_inputs.made(lambda n: f"{n % 3}\n", count=5, seed=1)
    assert [one.text for one in found] == ["1\n", "2\n", "0\n"] and len({one.id for one in found}) == 3
    assert submit_inputs.made(lambda n: "", count=2) == []
    valid = submit_inputs.accepted(found, [lambda t: int(t) > 0, lambda t: None])
    assert [one.text for one in valid] == ["1\n", "2\n"]


def test_inputs_out_of_a_reply():
    reply = "First:\n```text\n1 2\n```\nagain\n```\n1 2\n```\n```\n\n```\nopen\n```\n3"
    assert [one.text for one in submit_inputs.fenced(reply)] == ["1 2\n"]


def scripted(runs):
    """A runner that knows four programs by their text."""
    table = {
        "square": lambda s: Output("ok", str(int(s) ** 2)),
        "crash": lambda s: Output("error"),
        "down": lambda s: Output("infra"),
        "even": lambda s: Output("ok", "valid\n" if int(s) % 2 == 0 else "no"),
    }
    return [table[run.code](run.text) for run in runs]


def test_generators_validators_and_outputs_through_a_runner():
    inputs = submit_inputs.written(scripted, ["square", "crash"], count=6)
    assert [one.text for one in inputs] == ["0", "1", "4"]
    held = submit_inputs.accepted_by_programs(scripted, inputs, ["even", "even", "even", "crash", "down"])
    assert [one.text for one in held] == ["0", "4"]
    one, two = submit_inputs.with_outputs(scripted, [prog("1", code="square"), prog("2", code="crash")], held)
    assert [one.outputs[i.id].text for i in held] == ["0", "16"]
    assert {two.outputs[i.id].status for i in held} == {"error"}


def test_a_runner_that_loses_runs_is_an_error():
    with pytest.raises(WorkError, match="0 outputs for 1 runs"):
        submit_inputs.with_outputs(lambda runs: [], [prog("1")], submit_inputs.made(str, 1))


def test_a_sandbox_as_runner():
    class Box:
        def run(self, jobs):
            assert [(j.kind, j.code, j.stdin) for j in jobs] == [("stdin", c, "5") for c in "abcd"]
            return [Result("ok", stdout="1\n"), Result("timeout", stdout="1\n"), Result("infra"), Result("raised")]

    outputs = submit_inputs.Boxed(Box())([submit_inputs.Run(code, "5") for code in "abcd"])
    assert [(o.status, o.text) for o in outputs] == [("ok", "1"), ("timeout", ""), ("infra", ""), ("error", "")]


def test_the_page_prints_what_it_says(capsys):
    page = (Path(__file__).parents[2] / "docs/submit.md").read_text()
    code, said = re.findall(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", page, re.DOTALL)[0]
    exec(code, {})
    assert capsys.readouterr().out == textwrap.dedent(said)


def test_stored_programs_come_back_as_they_were(tmp_path):
    programs = [prog("1", "x!?", learned=0.5, public=(True, None)), prog("2", subtask="b")]
    truth = {"1": {"a": 1.0}}
    path = tmp_path / "programs.jsonl"
    assert submit_files.write(path, programs, truth) == 2
    with path.open("ab") as file:
        file.write(b'{"id": "3", "sub')
    assert submit_files.read(path) == (programs, truth)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "1"}', "subtask"),
        ('{"id": "1", "subtask": "a", "code": "", "extra": 1}', "extra"),
        ('{"id": "1", "subtask": "a", "code": "", "outputs": {"i": {"status": "fine"}}}', "fine"),
        ("\xff", "programs.jsonl:1"),
    ],
)
def test_rows_that_are_no_programs_are_named(tmp_path, line, says):
    path = tmp_path / "programs.jsonl"
    path.write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match=says):
        submit_files.read(path)
    with pytest.raises(DataError, match="can not be read"):
        submit_files.read(tmp_path / "none.jsonl")
