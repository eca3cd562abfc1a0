"""From a solution to the row that keeps it: the tree with its texts, every finished branch with its grade."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ponder.evals.attempts import Attempt, joined
from ponder.evals.trees import End, TreeRow
from ponder.search.job import Job
from ponder.search.solution import Solution
from ponder.search.tree import Node, plain
from ponder.types import Grade

if TYPE_CHECKING:
    from ponder.evals.searching import Search


def tree_row(
    attempt: Attempt,
    solution: Solution,
    grades: Sequence[Grade],
    job: Job,
    search: Search,
    tokenizer: Any,
    wall: float = 0.0,
) -> TreeRow:
    """The row of `solution`, under the key of its attempt; `grades` are those of its finished branches."""
    tree = solution.tree
    rows: list[dict[str, Any]] = plain(tree)["nodes"]
    for node, row in zip(tree, rows, strict=True):
        row |= _texts(node, job, tokenizer)
    return TreeRow(
        task=attempt.task,
        problem=attempt.problem,
        attempt=attempt.attempt,
        model=attempt.model,
        strategy=attempt.strategy,
        effort=attempt.effort,
        sampling=attempt.sampling,
        seed=solution.seed,
        name=search.name,
        options=search.options,
        select=search.select,
        verifier=search.verifier,
        semantics=job.semantics,
        budget=search.budget,
        opened=tree.root.opened,
        prompt=tree.root.prompt_ids,
        nodes=rows,
        ends=_ends(solution, grades),
        chosen=solution.chosen,
        change=solution.change,
        ended=solution.ended,
        ledger=solution.ledger,
        drawing=0.0 if job.flops is None else drawing_flops(tree, job.flops),
        reading=0.0 if job.flops is None else drawing_flops(tree.nodes[:1], job.flops),
        wall=wall,
        notes=dict(solution.notes),
    )


def _ends(solution: Solution, grades: Sequence[Grade]) -> tuple[End, ...]:
    parts = zip(solution.ends, solution.completions, solution.candidates, grades, strict=True)
    return tuple(
        End(
            node=node.index,
            outcome=grade.outcome,
            score=grade.score,
            name=candidate.answer,
            weight=candidate.weight,
            thinking=completion.thinking,
            answer=completion.answer,
            text=None if completion.text == joined(completion.thinking, completion.answer) else completion.text,
            reason=grade.reason,
        )
        for node, completion, candidate, grade in parts
    )


def _texts(node: Node, job: Job, tokenizer: Any) -> dict[str, str]:
    """The text of a node's span; of its whole branch too where tokens were taken away before it."""
    if not node.span:
        return {}
    if tokenizer is None:
        return {"text": job.completion(node).text} if node.span == len(node.written) else {}
    ids = node.token_ids
    if node.done and ids[-1] in tokenizer.stop_ids:
        ids = ids[:-1]
    found = {"text": tokenizer.decode(ids)}
    return found | ({"branch": job.completion(node).text} if node.dropped else {})


def drawing_flops(nodes: Iterable[Node], flops: Callable[[int, int], float]) -> float:
    """What the nodes' own tokens cost, each forwarded once: every prompt and every span behind what stands before it."""
    total = 0.0
    for node in nodes:
        fresh = node.parent is None or node.prompt_ids != node.parent.prompt_ids
        count = len(node.prompt_ids) if fresh else node.span
        before = 0 if fresh else len(node.prompt_ids) + len(node.written) - node.span
        total += flops(count, count * before + count * (count + 1) // 2)
    return total
