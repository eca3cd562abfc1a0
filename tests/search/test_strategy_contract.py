"""What every strategy must do, those that others add to the registry included."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from contract_fakes import (
    ENGINES,
    PROBLEMS,
    Dying,
    Empty,
    Reader,
    Shuffled,
    Slow,
    endless,
    facts,
    job,
    local,
    run,
    scripted,
)

from ponder.errors import WorkError
from ponder.search import STRATEGIES, Driver, Solution
from ponder.types import Budget, Engine, Semantics

NAMES = sorted(STRATEGIES)
SCORING = [name for name in NAMES if STRATEGIES.get(name)().needs_verifier]
every = pytest.mark.parametrize("strategy", NAMES)
every_scoring = pytest.mark.parametrize("strategy", SCORING)
HARD = PROBLEMS[0]


@pytest.fixture(params=sorted(ENGINES), scope="module")
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]()


def test_all_are_there() -> None:
    assert {"greedy", "vote", "step_search", "beam", "dvts", "hgs", "mcts", "particle", "repeat"} <= set(NAMES)
    assert {"step_search", "beam", "dvts", "hgs", "mcts", "particle", "repeat"} <= set(SCORING)


@every
def test_it_ends_with_candidates_and_an_honest_ledger(strategy: str, engine: Engine) -> None:
    verifier = Reader()
    solution = run(strategy, engine, verifier)
    assert solution.ended == "done"
    assert solution.completions
    assert all(node.done for node in solution.ends)
    drawn = [node for node in solution.tree if node.parent is not None and not node.forced]
    assert solution.ledger.decoded == sum(node.span for node in drawn)
    assert solution.ledger.verified == verifier.ledger.verified
    for node in solution.tree:
        assert len(node.written) == len(node.drawn) <= 40 + len(HARD.text)
        assert node.parent is None or not node.parent.done or node.forced
    if any(candidate.answer is not None for candidate in solution.candidates):
        assert solution.answer is not None
        assert solution.change is None or 0 <= solution.change <= 1


@every
def test_the_seed_decides(strategy: str, engine: Engine) -> None:
    assert facts(run(strategy, engine, seed=3)) == facts(run(strategy, engine, seed=3))
    if strategy != "greedy":
        assert len({str(facts(run(strategy, engine, seed=seed))) for seed in range(4)}) > 1


@every
def test_the_order_of_arrival_decides_nothing(strategy: str, engine: Engine) -> None:
    assert facts(run(strategy, Shuffled(engine))) == facts(run(strategy, engine))


@every
def test_company_decides_nothing(strategy: str, engine: Engine) -> None:
    """A problem among others, two of them at a time, is searched as it is alone."""
    verifier = Reader()
    told: dict[int, Solution] = {}
    jobs = [job(strategy, engine, verifier, problem) for problem in PROBLEMS]
    found = Driver(engine, verifier).run(jobs, told.__setitem__, live=2)
    assert [told[i] for i in range(len(PROBLEMS))] == found
    for problem, solution in zip(PROBLEMS, found, strict=True):
        assert solution.problem is problem
        alone = run(strategy, engine, problem=problem)
        spent = replace(solution.ledger, verified=alone.ledger.verified)  # one call for all: its cost is shared out
        assert facts(replace(solution, ledger=spent)) == facts(alone)


@every
@pytest.mark.parametrize("semantics", ["correctness", "value", "outcome"])
def test_it_works_whatever_scores_mean(strategy: str, semantics: Semantics) -> None:
    assert run(strategy, scripted(), Reader(semantics)).completions


@every
def test_it_works_when_the_verifier_never_commits_itself(strategy: str) -> None:
    verifier = Reader(spoil=lambda scores: [None] * len(scores))
    solution = run(strategy, scripted(), verifier)
    assert solution.completions
    assert solution.answer is not None


@every
def test_the_budget_is_never_exceeded(strategy: str) -> None:
    engine = scripted()
    whole = run(strategy, engine)
    full = whole.ledger.forwarded
    amounts = sorted({*range(1, 60, 7), *range(60, full, max(1, full // 25)), full, full + 1, 2 * full})
    for tokens in amounts:
        solution = run(strategy, engine, budget=Budget(tokens=tokens))
        assert solution.ledger.forwarded <= tokens, (strategy, tokens)
    assert run(strategy, engine, budget=Budget(tokens=1)).ended == "budget"
    assert run(strategy, engine, budget=Budget(tokens=100 * full)).answer == whole.answer


@every
def test_a_budget_of_operations_is_never_exceeded(strategy: str) -> None:
    engine = local()
    full = run(strategy, engine).ledger.flops
    assert full > 0
    for share in (0.01, 0.1, 0.3, 0.5, 0.8, 1.0):
        solution = run(strategy, engine, budget=Budget(flops=full * share))
        assert solution.ledger.flops <= full * share


@pytest.mark.parametrize("strategy", [name for name in NAMES if name not in ("greedy", "sample", "forcing")])
def test_a_budget_that_ends_leaves_the_best_answer_so_far(strategy: str) -> None:
    """With half or more of what the whole search takes there is an answer, most of the time. (One completion has no part.)"""
    engine = scripted()
    full = [run(strategy, engine, problem=p).ledger.forwarded for p in PROBLEMS]
    found = [
        run(strategy, engine, problem=problem, budget=Budget(tokens=int(tokens * share)))
        for problem, tokens in zip(PROBLEMS, full, strict=True)
        for share in (0.5, 0.7, 0.9)
    ]
    answered = [solution for solution in found if solution.answer is not None]
    assert len(answered) >= len(found) // 2


@every
def test_time_that_runs_out_cancels_what_still_runs(strategy: str) -> None:
    engine = Slow(endless(), seconds=0.002)
    solution = run(strategy, engine, budget=Budget(seconds=0.012))
    assert solution.ended == "budget"
    assert engine.cancelled
    assert solution.ledger.decoded <= 12
    assert all(completion.finish != "cancelled" for completion in solution.completions)


@every_scoring
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda scores: [math.nan] * len(scores), "returned nan; a score lies in 0 to 1"),
        (lambda scores: scores[1:], r"returned \d+ scores for \d+ nodes"),
        (lambda scores: [1.5] * len(scores), "returned 1.5"),
    ],
)
def test_scores_that_are_none(strategy: str, spoil: object, said: str) -> None:
    where = re.escape(f"problem {HARD.id} ({HARD.text[:40]!r}, step ")
    with pytest.raises(WorkError, match=f"{where}.*verifier 'reader' {said}"):
        run(strategy, scripted(), Reader(spoil=spoil))  # type: ignore[arg-type]


@every
def test_an_empty_completion_is_an_error(strategy: str) -> None:
    with pytest.raises(WorkError, match=f"problem {HARD.id} .*step 1.*empty completion"):
        run(strategy, Empty(scripted()))


@every
def test_a_completion_without_an_answer_abstains(strategy: str) -> None:
    """The thinking never closes: candidates without an answer, no answer, no error."""
    solution = run(strategy, endless())
    if strategy != "forcing":  # closes the thinking itself
        assert solution.answer is None
        assert solution.votes == {}
    assert all(completion.finish == "length" for completion in solution.completions if completion.answer is None)


@every
def test_what_had_finished_before_the_engine_died_is_kept(strategy: str) -> None:
    verifier = Reader()
    told: dict[int, Solution] = {}
    counting = Dying(scripted(), calls=10**6)
    Driver(counting, verifier).run([job(strategy, counting, verifier, problem) for problem in PROBLEMS[:2]], live=1)
    engine = Dying(scripted(), calls=10**6 - counting.calls)
    verifier = Reader()
    jobs = [job(strategy, engine, verifier, problem) for problem in PROBLEMS]
    where = re.escape(f"problem {PROBLEMS[2].id} ")
    with pytest.raises(WorkError, match=f"{where}.*step 1.*engine 'scripted' failed .*out of memory.*kept"):
        Driver(engine, verifier).run(jobs, told.__setitem__, live=1)
    assert sorted(told) == [0, 1]
    assert told[1].completions


@every
def test_another_choice_from_the_same_tree_costs_nothing(strategy: str) -> None:
    engine = scripted()
    solution = run(strategy, engine)
    spent = replace(engine.ledger, seconds=0.0)
    for how in ("vote", "best", "weighted", "likelihood", "first", "last"):
        choice = solution.select(how)
        assert choice.index is None or solution.candidates[choice.index].answer is not None
    assert replace(engine.ledger, seconds=0.0) == spent
