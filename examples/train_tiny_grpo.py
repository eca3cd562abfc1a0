"""GRPO in one flat loop, on a task and a model made here: sample, grade, compare with the siblings, follow.

The task is `7+8`. In the cold start half of the answers shown are wrong (that is the planted weakness), so the model says
the right one a third of the time. Reinforcement sees only whether an answer was right; after 40 steps two thirds are.

Run: python examples/train_tiny_grpo.py        (about fifteen seconds of one core)
"""

import random

import numpy as np
import torch

from ponder.engines.local import LocalEngine
from ponder.graders import make
from ponder.models import ModelConfig, Transformer
from ponder.text import Tokenizer
from ponder.training.advantages import advantages, uniform
from ponder.training.batch import micro_batches
from ponder.training.examples import POLICY, Example, from_messages, weigh
from ponder.training.logprobs import learned_logprobs
from ponder.training.objective import Objective, imitation, loss
from ponder.training.optim import Optimizers
from ponder.training.settings import Optimizer
from ponder.types import Message, Problem, Request, Sampling

torch.manual_seed(0)
rng = random.Random(0)
tokenizer = Tokenizer.mini()
sizes = {"width": 64, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 192, "context": 48}
model = Transformer(ModelConfig(vocab_size=tokenizer.vocab_size, **sizes))
engine = LocalEngine(model, tokenizer, dtype=torch.float32, rows=128)
grader = make("number")


# A task is problems and a grader. With a hundred facts there is nothing to hold out: this shows a loop, not a result.
def problem(a: int, b: int) -> Problem:
    return Problem((Message("user", f"{a}+{b}"),), reference=str(a + b))


problems = [problem(a, b) for a in range(10) for b in range(10)]


def sample(asked: list[Problem], n: int, seed: int) -> list[list]:
    """`n` completions of each problem, all in one call."""
    requests = [
        Request(engine.encode(p.messages), Sampling(max_tokens=6, seed=seed * 1_000_003 + i * n + k))
        for i, p in enumerate(asked)
        for k in range(n)
    ]
    done = engine.generate(requests)
    return [done[i : i + n] for i in range(0, len(done), n)]


def accuracy(asked: list[Problem]) -> float:
    """Share of right answers, four samples a problem."""
    groups = sample(asked, 4, seed=999)
    return float(np.mean([grader.grade(p, c).correct for p, group in zip(asked, groups, strict=True) for c in group]))


# Cold start: imitate demonstrations, half of them wrong.
optimizer = Optimizers(model, Optimizer(kind="muon", lr=4e-3, muon_lr=0.02))
for step in range(250):
    shown = rng.choices(problems, k=64)
    answers = [p.reference if rng.random() < 1 / 2 else str(rng.randrange(19)) for p in shown]
    examples = [from_messages(p.messages, a, tokenizer) for p, a in zip(shown, answers, strict=True)]
    for batch in micro_batches(weigh(examples), 8192):
        logprobs, _ = learned_logprobs(model, batch)
        imitation(logprobs, batch).backward()
    optimizer.step(1 - step / 250)
engine.refresh()
print(f"after the cold start   {accuracy(problems):.1%}")

# GRPO: groups of 16, advantage = reward compared with the group's mean, in units of its deviation.
objective = Objective()
optimizer = Optimizers(model, Optimizer(kind="adamw", lr=2e-3))
for step in range(1, 41):
    asked = rng.sample(problems, 32)
    examples = []
    rewards = []
    for p, group in zip(asked, sample(asked, 16, seed=step), strict=True):
        scores = [grader.grade(p, c).score for c in group]
        rewards += scores
        if uniform(scores):
            continue  # all right or all wrong: nothing to compare
        for completion, advantage in zip(group, advantages(scores), strict=True):
            ids = np.array([*completion.prompt_ids, *completion.token_ids], dtype=np.int32)
            learned = np.arange(len(ids)) >= len(completion.prompt_ids)
            examples.append(Example(ids, learned, POLICY, advantage=advantage))
    for batch in micro_batches(weigh(examples), 8192):
        logprobs, _ = learned_logprobs(model, batch)
        value, _ = loss(objective, batch, logprobs, on_policy=True)
        value.backward()
    optimizer.step(1.0)
    engine.refresh()  # the engine samples from its own copy of the weights
    if step % 10 == 0:
        print(f"step {step:3}   reward {np.mean(rewards):.3f}")

print(f"after GRPO             {accuracy(problems):.1%}")
