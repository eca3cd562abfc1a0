"""More samples, better answers: the same model, asked once and asked many times, on held-out problems.

Run: python examples/sample_and_vote.py [MODEL]        (MODEL: mini unless given)
"""

import sys

import ponder
from ponder import tasks
from ponder.evals import stats
from ponder.types import Request, Sampling

SAMPLES = 16
engine = ponder.load(sys.argv[1] if len(sys.argv) > 1 else "mini")
task = tasks.get("countdown")
problems = task.problems("test", limit=60)

# 1. One problem, the short way: draw samples, let them vote, keep the ledger.
solution = ponder.solve(problems[0], engine, strategy="vote", n=SAMPLES, seed=0, effort="medium")
print(f"{problems[0].text}   →   {solution.answer}   votes {dict(solution.votes)}   {solution.ledger.decoded} tokens\n")

# 2. Many problems in one call. Every request has its own seed, so the batch changes nothing.
requests = [
    Request(engine.encode(p.messages, "medium"), Sampling(max_tokens=256, seed=i * SAMPLES + k))
    for i, p in enumerate(problems)
    for k in range(SAMPLES)
]
done = engine.generate(requests)
groups = [done[i : i + SAMPLES] for i in range(0, len(done), SAMPLES)]

# 3. From one set of samples, exact curves: no sample is drawn again for a smaller k.
rows = []
for problem, group in zip(problems, groups, strict=True):
    correct = [task.grader.grade(problem, c).correct for c in group]
    answers = [task.grader.key(c.answer) if c.answer is not None else None for c in group]
    rows.append((correct, answers))
print(f"{'k':>3} {'one of k is right':>18} {'the vote of k is right':>23}")
for k in (1, 2, 4, 8, 16):
    passed = [stats.pass_at_k(len(c), sum(c), k) for c, _ in rows]
    voted = [stats.majority_at_k(a, c, k) for c, a in rows]
    print(f"{k:3} {sum(passed) / len(rows):18.1%} {sum(voted) / len(rows):23.1%}")
print(f"\n{engine.ledger.decoded:,} tokens decoded, {engine.ledger.cached:,} served from the prefix cache")
