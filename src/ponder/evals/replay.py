"""What another choice would have given: another selection, another verifier, or fewer branches, from stored trees.

    all branches      the selection is made again: exact, for any tree
    k of n branches   flat trees only (n branches drawn whole from the prompt). The expectation over all k-subsets: exact for
                      vote (`majority_at_k`), best and likelihood (`best_of_k`) and any (`pass_at_k`), over sampled
                      subsets without replacement for the rest (`subsets`)
    not graded        the expectation given that the chosen branch was graded; a search whose choice is certain to be one that
                      was not is left out. `any` looks at the graded branches alone
    another verifier  every branch scored again by it; costs its own tokens and none of the engine's

A search that grew elsewhere because of its verifier (beam, mcts) is not what it would have been under another: replaying it
answers which of *these* branches the other would have chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from ponder.errors import ConfigError, PonderError, WorkError
from ponder.evals import stats, ungraded
from ponder.evals.subsets import selector_at_k, weighted_majority_at_k
from ponder.evals.trees import TreeRow, per_problem
from ponder.graders.spec import shown_tests
from ponder.search.branches import starts
from ponder.search.select import SCORED, selector
from ponder.search.tree import Node, Tree
from ponder.text.tokenizer import THINK_CLOSE, THINK_OPEN
from ponder.types import Ledger, Problem, Trace, Verifier

ANY = "any"
"""The rule of an oracle: right when any branch is. The ceiling of every selection."""
ROUNDS = 8
CHUNK = 256


def rates(rows: Sequence[TreeRow], select: str) -> dict[str, float]:
    """By problem, the share of its searches whose answer is right when `select` chooses among all branches.

    A choice that could not be graded is left out, and so is a problem without any other; WorkError when none is left.
    """
    return _by_problem(rows, lambda row: _chosen(row, select))


def rates_at(rows: Sequence[TreeRow], select: str, k: int) -> dict[str, float]:
    """By problem, the expected share right when `select` chooses among k of the branches of a flat search.

    ConfigError: a search that is not flat, a k above the number of branches, a selection that needs scores without any.
    """
    check(rows, select)
    if any(not row.flat for row in rows):
        raise ConfigError(f"k = {k}: '{rows[0].name}' did not draw its branches alike from the prompt; leave k out")
    least = min(len(row.ends) for row in rows)
    if not 1 <= k <= least:
        raise ConfigError(f"k = {k}: the searches of '{rows[0].name}' have {least} branches")
    return _by_problem(rows, lambda row: _expected(row, select, k))


def exact(rows: Sequence[TreeRow], select: str, k: int) -> bool:
    """Is `rates_at` an exact expectation, or one over sampled subsets?"""
    return select in ("vote", "best", "likelihood", ANY) or all(len(row.ends) == k for row in rows)


def check(rows: Sequence[TreeRow], select: str) -> None:
    """ConfigError for an unknown selection, and for one that needs scores where nothing was scored."""
    if select != ANY:
        selector(select)
    if select in SCORED and not any(c.score is not None for row in rows for c in row.candidates()):
        raise ConfigError(f"selection '{select}' needs scores, and '{rows[0].name}' has none: give a --verifier")


def _by_problem(rows: Sequence[TreeRow], judge: Callable[[TreeRow], float | None]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, group in per_problem(rows).items():
        known = [rate for rate in map(judge, group) if rate is not None]
        if known:
            found[name] = math.fsum(known) / len(known)
    if rows and not found:
        ends = [end for row in rows for end in row.ends]
        why = next(iter(ungraded.reasons(ends)), "no reason is told")
        raise WorkError(
            f"none of the {len(rows)} searches of '{rows[0].name}' could be graded: {why}; mend that and give the line of the "
            "evaluation again, which grades what is stored"
        )
    return found


def _chosen(row: TreeRow, select: str) -> float | None:
    """None: the choice could not be graded."""
    if select == ANY:
        return _any_right(row, len(row.ends))
    if not row.ends:
        return 0.0
    if select == row.select:
        end = row.given
    else:
        end = row.ends[selector(select)(row.candidates(), row.seed).index or 0]
    return None if end is None or end.score is None else float(end.correct)


def _any_right(row: TreeRow, k: int) -> float | None:
    known = len(row.ends) - sum(row.undecided)
    if not known:
        return None if row.ends else 0.0
    return stats.pass_at_k(known, sum(row.correct), min(k, known))


def _expected(row: TreeRow, select: str, k: int) -> float | None:
    """Expected correctness given that the choice among k branches was graded; None where it never is."""
    if k == len(row.ends):
        return _chosen(row, select)
    if select == ANY:
        return _any_right(row, k)
    lost = _chance(row, select, k, row.undecided) if any(row.undecided) else 0.0
    return None if lost > 1 - 1e-9 else min(1.0, _chance(row, select, k, row.correct) / (1.0 - lost))


def _chance(row: TreeRow, select: str, k: int, right: Sequence[bool]) -> float:
    """The chance that the branch chosen among k is one of `right`."""
    candidates = row.candidates()
    answers = [c.answer for c in candidates]
    if select == "vote":
        return stats.majority_at_k(answers, right, k)
    if select in ("best", "likelihood"):
        values = [c.score if select == "best" else c.logprob for c in candidates]
        return stats.best_of_k([v if a is not None else None for a, v in zip(answers, values, strict=True)], right, k)
    name = row.problem
    if select == "weighted":
        scores = [c.score for c in candidates]
        return weighted_majority_at_k(answers, scores, right, k, rounds=ROUNDS, name=name).mean
    return selector_at_k(select, candidates, right, k, rounds=ROUNDS, name=name).mean


# ---- another verifier


def rescored(
    rows: Sequence[TreeRow], problems: Mapping[str, Problem], verifier: Verifier, identity: str
) -> tuple[list[TreeRow], Ledger]:
    """`rows` with the scores of `verifier` in place of their own, and what that cost.

    A verifier of outcomes reads the finished branches; any other also every step that had a score. `verified`, FLOPs and
    the verifier's name in the rows are the new ones; the rule that chose stays, and its choice is made again.
    """
    before = verifier.ledger
    found: list[TreeRow] = []
    for start in range(0, len(rows), CHUNK):
        found += _rescored(rows[start : start + CHUNK], problems, verifier, identity)
    return found, verifier.ledger - before


def _rescored(
    rows: Sequence[TreeRow], problems: Mapping[str, Problem], verifier: Verifier, identity: str
) -> list[TreeRow]:
    trees = [row.tree() for row in rows]
    asked = [_to_score(row, tree, verifier) for row, tree in zip(rows, trees, strict=True)]
    traces = [
        trace(row, node, problems[row.problem])
        for row, nodes in zip(rows, asked, strict=True)
        for node in nodes
    ]  # fmt: skip
    before = verifier.ledger
    scores = iter(_scores(verifier, traces))
    spent = verifier.ledger - before
    total = sum(tree.tokens for tree in trees) or 1
    return [
        _with_scores(
            row, {n.index: next(scores) for n in nodes}, verifier, identity, _share(spent, tree.tokens / total)
        )
        for row, nodes, tree in zip(rows, asked, trees, strict=True)
    ]


def _to_score(row: TreeRow, tree: Tree, verifier: Verifier) -> list[Node]:
    ends = {end.node for end in row.ends}
    steps: set[int] = set() if verifier.semantics == "outcome" else set(tree.scores)
    return [node for node in tree if node.index in ends | steps]


def _scores(verifier: Verifier, traces: Sequence[Trace]) -> list[float | None]:
    if not traces:
        return []
    where = f"problem {traces[0].problem_id}: verifier '{verifier.name}'"
    try:
        scores = verifier.score(traces)
    except PonderError:
        raise
    except Exception as error:
        raise WorkError(f"{where} failed ({type(error).__name__}: {error})") from error
    if len(scores) != len(traces):
        raise WorkError(f"{where} returned {len(scores)} scores for {len(traces)} branches")
    for score, one in zip(scores, traces, strict=True):
        if score is not None and not 0.0 <= score <= 1.0:
            raise WorkError(
                f"problem {one.problem_id}: verifier '{verifier.name}' returned {score}; a score lies in 0 to 1, or is None"
            )
    return scores


def _share(spent: Ledger, part: float) -> Ledger:
    return Ledger(verified=round(spent.forwarded * part), flops=spent.flops * part, seconds=spent.seconds * part)


def _with_scores(
    row: TreeRow, scores: Mapping[int, float | None], verifier: Verifier, identity: str, spent: Ledger
) -> TreeRow:
    nodes = [{name: value for name, value in node.items() if name != "score"} for node in row.nodes]
    for index, score in scores.items():
        nodes[index]["score"] = score
    ledger = replace(row.ledger, verified=0, flops=row.drawing) + spent
    made = msgspec.structs.replace(
        row, nodes=nodes, verifier=identity, semantics=verifier.semantics, ledger=ledger, notes={}
    )
    choice = selector(row.select)(made.candidates(), row.seed)
    return msgspec.structs.replace(made, chosen=choice.index, change=choice.change)


def trace(row: TreeRow, node: Node, problem: Problem) -> Trace:
    """What a verifier sees of a stored branch; the texts are those decoded when it was drawn."""
    end = next((end for end in row.ends if end.node == node.index), None)
    text = _text(row, node) if end is None else end.full_text
    thinking = _thinking(text, row.opened) if end is None else end.thinking
    return Trace(
        messages=problem.messages,
        prompt_ids=node.prompt_ids,
        token_ids=node.written,
        logprobs=node.drawn,
        starts=starts(node),
        text=text,
        thinking=thinking,
        answer=end.answer if end is not None else _answer(text) if node.done else None,
        finished=node.done,
        problem_id=row.problem,
        last=row.nodes[node.index].get("text", ""),
        shown=shown_tests(problem.reference),
    )


def _text(row: TreeRow, node: Node) -> str:
    """The text of a branch from the texts of its spans, from the last place where tokens were taken away."""
    text = ""
    for part in node.turn:
        stored = row.nodes[part.index]
        text = stored["branch"] if "branch" in stored else text + stored.get("text", "")
    return text


def _answer(text: str) -> str | None:
    """The answer of an ended branch that was not put forward: what follows the thinking."""
    _, mark, rest = text.partition(THINK_CLOSE)
    return rest if mark else None


def _thinking(text: str, opened: bool) -> str | None:
    if not opened and not text.startswith(THINK_OPEN):
        return None
    return text.removeprefix(THINK_OPEN).split(THINK_CLOSE)[0]
