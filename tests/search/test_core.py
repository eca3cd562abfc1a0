"""Tree, asks, purse and driver: what all strategies stand on."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from contract_fakes import PROBLEMS, TOKENIZER, Reader, Slow, endless, run, scripted
from hypothesis import given
from hypothesis import strategies as st
from step_world import HARD, Paths, World, words

from ponder.errors import ConfigError, WorkError
from ponder.search import Driver, make_job
from ponder.search.asks import Expand, Score, Turn, Withdraw, Write, aggregate, drawing, together
from ponder.search.branches import forced, starts
from ponder.search.purse import Purse
from ponder.search.select import Candidate, best, change_of_vote, vote, weighted
from ponder.search.tree import Node, Tree, plain, read
from ponder.types import Budget, Ledger, Trace

Asked = Generator[Any, Any, dict[str, Any] | None]


@dataclass(frozen=True)
class By:
    """A strategy from a function."""

    act: Callable[[Node, Any], Asked]
    select: str = "first"
    needs_verifier: bool = False

    def explore(self, root: Node, view: Any) -> Asked:
        return self.act(root, view)


def search(act: Callable[[Node, Any], Asked], engine: Any = None, verifier: Any = None, **more: Any) -> Any:
    job = make_job(PROBLEMS[0], engine or scripted(), By(act), verifier=verifier, max_tokens=40, **more)
    return Driver(engine or scripted(), verifier).run([job])[0]


# ---- tree


def grown() -> Tree:
    """root → a (2 tokens) → b (1, replaces the last of a) → turn → c; and d beside a, ended and withdrawn."""
    tree = Tree()
    root = tree.add(None, prompt_ids=(1, 2, 3))
    a = tree.add(root, prompt_ids=(1, 2, 3), written=(5, 6), drawn=(-0.5, -0.25), span=2, finish="stop")
    b = tree.add(a, prompt_ids=(1, 2, 3), written=(5, 7), drawn=(-0.5, 0.0), span=1, forced=True, dropped=1)
    turn = tree.add(b, prompt_ids=(1, 9), forced=True)
    tree.add(turn, prompt_ids=(1, 9), written=(8,), drawn=(-0.125,), span=1, finish="length")
    tree.add(root, prompt_ids=(1, 2, 3), written=(4,), drawn=(-1.0,), span=1, finish="stop")
    tree.scores = {1: 0.5, 2: None, 4: 0.25}
    tree.withdrawn = {5}
    return tree


def test_a_tree_and_its_branches() -> None:
    tree = grown()
    root, a, b, turn, c, d = tree
    assert [node.place for node in tree] == ["", ".0", ".0.0", ".0.0.0", ".0.0.0.0", ".1"]
    assert c.branch == (a, b, turn, c)
    assert c.turn == (turn, c)
    assert b.turn == (a, b)
    assert [node.fresh for node in tree] == [True, False, False, True, False, False]
    assert tree.tokens == 3 + 2 + 1 + 2 + 1 + 1
    assert tree.finished() == [a, c]
    assert tree.path_scores(b) == [0.5]
    assert tree.path_scores(c) == [0.25]  # what was said of an earlier turn says nothing about this one
    assert starts(b) == (0, 1)
    assert starts(c) == (0,)
    assert starts(root) == (0,)
    assert forced(b) == (False, True)
    assert forced(a) == ()
    assert (a.token_ids, b.logprobs, a.logprob) == ((5, 6), (0.0,), -0.75)
    assert tree.born(root) == 2
    assert tree.owns(d)
    assert not tree.owns(grown().nodes[1])


def same(one: Tree, other: Tree) -> bool:
    names = (
        "index",
        "number",
        "prompt_ids",
        "written",
        "drawn",
        "span",
        "finish",
        "forced",
        "dropped",
        "depth",
        "place",
    )
    fields = [[getattr(node, name) for name in names] for node in one]
    return fields == [[getattr(node, name) for name in names] for node in other]


def test_a_tree_to_disk_and_back() -> None:
    tree = grown()
    again = read(json.loads(json.dumps(plain(tree))))
    assert same(tree, again)
    assert (again.scores, again.withdrawn) == (tree.scores, tree.withdrawn)
    assert [node.index for node in again.finished()] == [1, 4]
    assert plain(again) == plain(tree)


@pytest.mark.parametrize("strategy", ["beam", "mcts", "revise", "forcing"])
def test_searched_trees_to_disk_and_back(strategy: str) -> None:
    tree = run(strategy, scripted()).tree
    again = read(json.loads(json.dumps(plain(tree))))
    assert same(tree, again)
    assert again.scores == tree.scores
    assert again.tokens == tree.tokens


# ---- selection


@pytest.mark.parametrize(("leader", "second"), [(4, 0), (6, 1), (8, 2), (9, 3), (11, 4), (12, 5)])
def test_the_leader_is_safe_at_95_percent_from_here_on(leader: int, second: int) -> None:
    """The stopping table of Adaptive-Consistency's Beta criterion."""
    assert change_of_vote(leader, second) <= 0.05
    assert change_of_vote(leader - 1, second) > 0.05


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_integer_form_is_the_beta_tail(a: int, b: int) -> None:
    """P(p < 1/2), p ~ Beta(a + 1, b + 1), by the midpoint rule."""
    grid = [(i + 0.5) / 4000 for i in range(4000)]
    density = [p**a * (1 - p) ** b for p in grid]
    assert change_of_vote(a, b) == pytest.approx(sum(density[:2000]) / sum(density), abs=1e-5)


def test_ties_are_broken_by_the_seed_alone() -> None:
    tied = [Candidate("x", 0.5), Candidate("y", 0.5), Candidate("z", 0.1), Candidate(None, 0.9)]
    for select in (weighted, best):
        chosen = [select(tied, seed).index for seed in range(30)]
        assert set(chosen) == {0, 1}
        backwards = [select(tied[::-1], seed).index for seed in range(30)]
        assert backwards == [3 - index for index in chosen if index is not None]
    assert {vote(tied, seed).index for seed in range(30)} == {0, 1, 2}


# ---- money


def test_budget_arithmetic() -> None:
    budget = Budget(tokens=100, flops=1e6, seconds=2.0)
    spent = Ledger(cached=50, prefilled=10, decoded=20, verified=30, flops=4e5, seconds=0.5)
    assert budget.left(spent) == Budget(tokens=40, flops=6e5, seconds=1.5)
    assert Budget(tokens=60).left(spent) is None
    assert Budget(flops=4e5).left(spent) is None
    assert Budget().left(spent) == Budget()
    assert budget.child(0.25) == Budget(tokens=25, flops=2.5e5, seconds=0.5)
    assert Budget(tokens=3).child(0.1) == Budget(tokens=1)
    for bad in ({"tokens": 0}, {"flops": -1.0}, {"seconds": float("nan")}):
        with pytest.raises(ValueError, match="a budget is above 0"):
            Budget(**bad)


def test_a_purse_pays_up_to_the_last_token() -> None:
    purse = Purse(Budget(tokens=10))
    purse.spend(Ledger(prefilled=4, cached=100))
    assert purse.most(reach=50) == 6
    assert purse.most(50, planned=Ledger(decoded=2)) == 4
    assert purse.pays(Ledger(verified=6))
    assert not purse.pays(Ledger(verified=6), planned=Ledger(decoded=1))
    assert purse.left() == pytest.approx(0.6)
    purse.spend(Ledger(decoded=6))
    assert purse.empty
    assert purse.most(50) == 0
    assert Purse().most(50) == float("inf")
    assert Purse().left() == 1.0


def test_a_purse_counts_operations_by_what_is_attended_to() -> None:
    """A price of 10 per token and 1 per position: a token behind 4 others costs 15, the one after it 16."""
    purse = Purse(Budget(flops=100), lambda tokens, attended: 10.0 * tokens + attended)
    assert purse.priced(Ledger(decoded=2), 2, 4) == Ledger(decoded=2, flops=31)
    purse.spend(Ledger(flops=40))
    assert purse.most(reach=10) == 3
    assert purse.pays(Ledger(flops=60))
    assert not purse.pays(Ledger(flops=61))


def test_the_clock_cancels_and_keeps_what_has_ended() -> None:
    def act(root: Node, view: Any) -> Asked:
        yield Expand((root,), 2, "end")
        raise AssertionError("time was up")

    engine = Slow(endless(), seconds=0.002)
    solution = search(act, engine, budget=Budget(seconds=0.02))
    assert solution.ended == "budget"
    assert len(engine.cancelled) == 2
    assert [node.finish for node in solution.tree.nodes[1:]] == ["cancelled"] * 2
    assert solution.completions == ()
    with pytest.raises(WorkError, match=f"problem {PROBLEMS[0].id}: no branch was finished"):
        _ = solution.completion


def test_a_step_the_verifier_can_not_be_paid_for_is_not_read() -> None:
    """Four steps of 3 tokens and 8 tokens to read them with: two are feared to take 6 and take 5 (their first token is the
    same), a third takes 2 of the 3 that are left, and the fourth is not begun."""

    def act(root: Node, view: Any) -> Asked:
        (kids,) = yield Expand((root,), 4)
        yield Score(tuple(kids))
        raise AssertionError("there was no money for all four")

    verifier = Paths({})
    prompt = len(make_job(HARD, World({}), By(act)).prompt_ids)
    job = make_job(
        HARD, World({"": "abcd"}), By(act), verifier=verifier, max_tokens=8, budget=Budget(tokens=2 * prompt + 20)
    )
    solution = Driver(World({"": "abcd"}), verifier).run([job])[0]
    assert solution.ledger.forwarded <= 2 * prompt + 20
    assert solution.ended == "budget"
    assert sorted(solution.tree.scores) == [1, 2, 3]
    assert solution.ledger.verified == prompt + 7


def test_a_verifier_that_says_what_it_costs_is_not_asked_for_more() -> None:
    class Writes(Reader):
        def cost(self, trace: Trace) -> int:
            return 30

        def charge(self, prompt: tuple[int, ...], ids: tuple[int, ...]) -> None:
            self.spent += Ledger(verified=30)

    for tokens in range(60, 260, 20):
        verifier = Writes()
        solution = run("best_of_n", scripted(), verifier, budget=Budget(tokens=tokens))
        assert solution.ledger.forwarded <= tokens
        assert verifier.ledger.verified == solution.ledger.verified


def test_what_a_verifier_leaves_of_its_cost_pays_for_the_next_branch() -> None:
    """Four branches, up to 30 tokens each to judge, 5 in truth; money for one at its dearest: all are judged, one by one."""

    class Sparing(Reader):
        calls = 0

        def cost(self, trace: Trace) -> int:
            return 30

        def score(self, traces: Sequence[Trace]) -> list[float | None]:
            self.calls += 1
            self.spent += Ledger(verified=5 * len(traces))
            return [0.5] * len(traces)

    whole = run("best_of_n", scripted(), Sparing()).ledger
    verifier = Sparing()
    solution = run("best_of_n", scripted(), verifier, budget=Budget(tokens=whole.forwarded - 20 + 45))
    assert verifier.calls == 4
    assert solution.scores == (0.5,) * 4
    assert solution.ledger.verified == 20


@pytest.mark.parametrize("kind", ["write", "turn"])
def test_words_that_can_not_be_paid_for_are_not_written(kind: str) -> None:
    def act(root: Node, view: Any) -> Asked:
        ((kid,),) = yield Expand((root,), 1, "end")
        made = yield Write((kid,), "wait " * 20, drop=1) if kind == "write" else Turn((kid,), "again " * 20)
        raise AssertionError(f"no money for {made}")

    first = search(lambda root, view: iter_one(root)).ledger.forwarded
    solution = search(act, budget=Budget(tokens=first + 40))
    assert solution.ended == "budget"
    assert solution.ledger.forwarded <= first + 40
    assert solution.completions


def iter_one(root: Node) -> Asked:
    yield Expand((root,), 1, "end")
    return None


# ---- asking


def test_a_node_of_another_tree_is_refused() -> None:
    other = grown().nodes[1]

    def act(root: Node, view: Any) -> Asked:
        yield Expand((root, other))
        return None

    with pytest.raises(
        WorkError, match=f"problem {PROBLEMS[0].id} .*strategy 'by' asks for a node that is not of this"
    ):
        search(act)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda root, kid: "more", "asked for 'more', which is no request"),
        (lambda root, kid: Expand((kid,)), "step 2.*expands a branch that has ended"),
        (lambda root, kid: Expand((root,), 0), "asks for 0 continuations"),
        (lambda root, kid: Write((kid,), "x"), "step 2.*writes behind the end"),
        (lambda root, kid: Write((kid,), "x", drop=1000), "can not drop 1000 of"),
        (lambda root, kid: Score((kid,)), "give it a verifier"),
    ],
)
def test_requests_that_can_not_be_met(asked: Callable[[Node, Node], Any], said: str) -> None:
    def act(root: Node, view: Any) -> Asked:
        ((kid,),) = yield Expand((root,), 1, "end")
        yield asked(root, kid)
        return None

    with pytest.raises((WorkError, ConfigError), match=said):
        search(act)


def test_steps_need_to_be_known() -> None:
    class Bare:
        tokenizer = None

        def __getattr__(self, name: str) -> Any:
            return getattr(ENGINE, name)

    ENGINE = scripted()
    with pytest.raises(ConfigError, match="nothing says where a step ends: give the engine a tokenizer"):
        run("beam", Bare())  # type: ignore[arg-type]
    assert run("beam", Bare(), options={"n": 2, "width": 2, "until": 4, "max_steps": 3}).completions  # type: ignore[arg-type]


def test_a_withdrawn_branch_is_no_candidate() -> None:
    def act(root: Node, view: Any) -> Asked:
        (kids,) = yield Expand((root,), 3, "end")
        yield Withdraw((kids[0], kids[2]))
        return None

    solution = search(act)
    assert [node.index for node in solution.ends] == [2]


def test_notes_survive_the_end_of_the_budget() -> None:
    def act(root: Node, view: Any) -> Asked:
        rounds = 0
        try:
            while True:
                rounds += 1
                yield Expand((root,), 1, "end")
        except GeneratorExit:
            return {"rounds": rounds, "name": "x"}

    def twice(root: Node, view: Any) -> Asked:
        return together([act(root, view), act(root, view)])

    alone, both = search(act, budget=Budget(tokens=90)), search(twice, budget=Budget(tokens=90))
    assert alone.ended == both.ended == "budget"
    assert alone.notes["rounds"] > 1
    assert both.notes["rounds"] > 1
    assert both.notes["name"] == "x"


def test_together_keeps_draws_in_one_batch() -> None:
    """One of three takes an extra score between its draws; the others wait for it, so draws stay together."""

    def part(root: Node, extra: bool) -> Asked:
        ((kid,),) = yield Expand((root,), 1, "end")
        if extra:
            yield Score((kid,))
        yield Expand((root,), 1, "end")
        return {"parts": 1}

    def act(root: Node, view: Any) -> Asked:
        return (yield from together(part(root, number == 1) for number in range(3)))

    engine, verifier = World({"": "123456"}), Paths({})
    jobs = [make_job(HARD, engine, By(act), seed=seed, verifier=verifier, max_tokens=9) for seed in (0, 1)]
    found = Driver(engine, verifier).run(jobs)
    assert [len(call) for call in engine.calls] == [6, 6]
    assert [solution.notes for solution in found] == [{"parts": 3}] * 2
    assert words(found[0].tree) == list("123456")
    assert drawing((Score(()), Expand(())))
    assert not drawing((Score(()), Withdraw(())))


def test_the_driver_keeps_searches_in_step() -> None:
    """One search takes a round that draws nothing; draws of both stay one call all the same."""

    def act(extra: bool) -> Callable[[Node, Any], Asked]:
        def explore(root: Node, view: Any) -> Asked:
            for _ in range(3):
                ((kid,),) = yield Expand((root,), 1, "end")
                if extra:
                    yield Withdraw((kid,))
            return None

        return explore

    engine = World({"": "123"})
    Driver(engine).run([make_job(HARD, engine, By(act(extra)), max_tokens=9) for extra in (False, True)])
    assert [len(call) for call in engine.calls] == [2, 2, 2]


@pytest.mark.parametrize(
    ("how", "value"), [("min", 0.2), ("max", 0.8), ("mean", 0.5), ("product", 0.08), ("last", 0.2)]
)
def test_scores_of_steps_as_one_number(how: Any, value: float) -> None:
    assert aggregate([0.5, 0.8, 0.2], how) == pytest.approx(value)
    assert aggregate([], how) is None


@pytest.mark.parametrize("strategy", ["beam", "particle", "mcts", "revise", "best_of_n"])
def test_a_verifier_sees_the_branch_and_its_last_step(strategy: str) -> None:
    seen: list[Trace] = []

    class Records(Reader):
        def score(self, traces: Sequence[Trace]) -> list[float | None]:
            seen.extend(traces)
            return super().score(traces)

    solution = run(strategy, scripted(), Records())
    decode = TOKENIZER.decode
    assert len(seen) == len(solution.tree.scores)
    for trace in seen:
        ids = trace.token_ids[:-1] if trace.finished and trace.token_ids[-1] in TOKENIZER.stop_ids else trace.token_ids
        assert trace.text == decode(ids)
        assert decode(trace.token_ids[: trace.starts[-1]]) + trace.last == trace.text
        assert (trace.answer is not None) == (trace.finished and "</think>" in trace.text)
        assert len(trace.logprobs) == len(trace.token_ids)


def test_a_verifier_that_fails_names_problem_and_step() -> None:
    class Broken(Reader):
        def score(self, traces: Sequence[Trace]) -> list[float | None]:
            raise KeyError("head")

    with pytest.raises(WorkError, match=f"problem {PROBLEMS[0].id} .*step 2.*verifier 'reader' failed .KeyError"):
        run("beam", scripted(), Broken())


def test_the_driver_knows_where_the_time_went() -> None:
    engine = Slow(scripted(), seconds=0.001)
    verifier = Reader()
    driver = Driver(engine, verifier)
    driver.run([make_job(PROBLEMS[0], engine, "best_of_n", 4, verifier=verifier, max_tokens=20)])
    assert driver.engine_seconds > 0
    assert 0 < driver.overhead < driver.seconds
    assert driver.seconds == pytest.approx(driver.engine_seconds + driver.verifier_seconds + driver.overhead)
