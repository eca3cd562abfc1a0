"""Rollouts and GRPO: what is kept, masked and counted, and that the reward goes up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder import config as configs
from ponder import efforts
from ponder.errors import ConfigError, DataError
from ponder.text.tokenizer import Tokenizer
from ponder.training import grpo, rollouts
from ponder.training.grpo import GRPOConfig
from ponder.training.grpo_settings import Asker
from ponder.training.objective import PRESETS, Objective
from ponder.types import Completion, Effort, Grade, Ledger, Message, Problem, Request, Sampling

TOKENIZER = Tokenizer.mini()
TINY: dict[str, Any] = {
    "model": "", "shape.width": 16, "shape.layers": 1, "shape.heads": 2, "shape.kv_heads": 1, "shape.hidden": 24,
    "steps": 2, "threads": 1, "data": [{"task": "countdown"}], "problems_per_step": 2, "group_size": 3,
    "levels": {"low": {"max_tokens": 8}, "high": {"max_tokens": 12, "think_budget": 6, "answer_reserve": 3}},
    "eval_every": 0, "engine_dtype": "fp32", "dtype": "fp32",
}  # fmt: skip


class Fake:
    """An engine that answers from a function of (prompt, seed) and remembers what it was asked."""

    name, path, context = "fake", None, 64

    def __init__(self, answer: Callable[[Request], str]) -> None:
        self.answer, self.asked = answer, list[Request]()

    def encode(self, messages: Sequence[Message], effort: Effort | None = None) -> tuple[int, ...]:
        return TOKENIZER.render(messages, effort)

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> list[Completion]:
        self.asked += requests
        return [self._one(r) for r in requests]

    def _one(self, r: Request) -> Completion:
        text = self.answer(r)
        ids = tuple(TOKENIZER.encode(text))
        forced = tuple(TOKENIZER.decode([i]) == "!" for i in ids)
        return Completion(
            ids, (-1.5,) * len(ids), "stop", text=text, answer=text, prompt_ids=r.prompt_ids, forced=forced
        )

    def cancel(self, request_id: str) -> None: ...

    def stream(self, requests: Sequence[Request]) -> Any: ...

    def logprobs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[0.0] * len(x) for x in token_ids]

    @property
    def ledger(self) -> Ledger:
        return Ledger()


class Judge:
    """Scores the number in the answer; '?' can not be graded."""

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        if completion.text == "?":
            return Grade(None, "error", reason="broken")
        return Grade(float(completion.text.strip("!")), "correct")


def ask(number: int) -> rollouts.Ask:
    return rollouts.Ask(number, Problem.from_text(f"p{number}"), "none", Judge(), Sampling(max_tokens=8))


def collect(answer: Callable[[Request], str], **changes: Any) -> tuple[rollouts.Rollout, Fake]:
    engine = Fake(answer)
    settings: dict[str, Any] = {"problems": 3, "group_size": 2, "cursor": 10, "refill_rounds": 2, **changes}
    seeds = settings.pop("seed_of", lambda n, g: n * 100 + g)
    return rollouts.collect(engine, ask, rollouts.Rewards({"task": 2.0}), seed_of=seeds, **settings), engine


def test_uniform_groups_are_dropped_and_refilled() -> None:
    """Problems 10 and 12 always score alike; 11 and those after 12 do not."""
    rollout, engine = collect(lambda r: "1" if r.id.startswith(("10/", "12/")) else str(r.sampling.seed % 2))
    assert [g.problem.text for g in rollout.kept] == ["p11", "p13", "p14"]
    assert rollout.cursor == 15 and rollout.rounds == 2 and len(rollout.groups) == 5
    found = rollouts.statistics(rollout, 2)
    assert found["zero_variance_share"] == 2 / 5 and found["refill_rounds"] == 1
    assert found["reward"] == pytest.approx(2 * (2 + 2 + 3) / 10) and found["reward_task"] == pytest.approx(7 / 10)
    assert [r.sampling.seed for r in engine.asked[:4]] == [1000, 1001, 1100, 1101]


def test_the_hack_rate_counts_what_the_twin_alone_believed() -> None:
    """Sixteen grades: those of odd seeds were passed by the twin and failed by the grader; "3" was judged by the grader alone."""

    class Twinned:
        def grade(self, problem: Problem, completion: Completion) -> Grade:
            if completion.text == "3":
                return Grade(1.0, "correct")
            hacked = completion.text == "1"
            return Grade(float(not hacked), "wrong" if hacked else "correct", {"permissive": True})

    def asked(number: int) -> rollouts.Ask:
        return rollouts.Ask(number, Problem.from_text(f"p{number}"), "none", Twinned(), Sampling(max_tokens=8))

    rollout = rollouts.collect(
        Fake(lambda r: "3" if r.id.endswith("/3") else str(r.sampling.seed % 2)), asked,
        rollouts.Rewards({"task": 1.0, "length": {"weight": 0.0, "soft": 1, "hard": 3}}),
        problems=4, group_size=4, cursor=0, refill_rounds=0, seed_of=lambda n, g: n + g,
    )  # fmt: skip
    found = rollouts.statistics(rollout, 4)
    assert (found["hack_rate"], found["hack_decided"]) == (6 / 12, 12)
    assert found["reward"] == found["reward_task"] == 10 / 16  # a part of weight 0 is logged and pays nothing
    assert "hack_rate" not in rollouts.statistics(collect(lambda r: "1")[0], 2)


def test_one_grader_gets_its_answers_in_one_call() -> None:
    calls: list[int] = []

    class Batches:
        def check_many(self, pairs: Sequence[Any]) -> list[Grade]:
            calls.append(len(pairs))
            return [
                Grade(None, "error", reason="no worker") if c.text == "x" else Grade(1.0, "correct") for _, c in pairs
            ]

    grader = Batches()
    rewards = rollouts.Rewards({"task": 1.0})
    done = [Completion((), (), "stop", text=t, answer=t) for t in ("a", "b", "x", "a")]
    found = rewards.many([(grader, Problem.from_text("p"), c) for c in done])
    assert calls == [3] and [s.reward for s in found] == [1.0, 1.0, None, 1.0]


def test_refilling_ends() -> None:
    rollout, engine = collect(lambda r: "1", refill_rounds=2)
    assert rollout.kept == [] and len(engine.asked) == 3 * 3 * 2 and rollout.cursor == 19
    assert rollouts.to_examples(rollout.kept, "group") == []


def test_ungraded_samples_take_no_part() -> None:
    rollout, _ = collect(lambda r: "?" if r.id.endswith("/0") else r.id[-1], group_size=3, problems=1)
    (group,) = rollout.kept
    assert group.rewards == [None, 2.0, 4.0]
    examples = rollouts.to_examples(rollout.kept, "mean")
    assert [e.advantage for e in examples] == [-1.0, 1.0]
    assert rollouts.statistics(rollout, 3)["ungraded"] == 1
    assert rollouts.reasons(rollout) == {"broken": 1}


def test_prompt_and_forced_tokens_are_masked() -> None:
    rollout, _ = collect(lambda r: "!12!" if r.id.endswith("/0") else "0", problems=1)
    first = rollouts.to_examples(rollout.kept, "group")[0]
    assert TOKENIZER.decode(first.token_ids.tolist()).endswith("<|assistant|>!12!")
    assert TOKENIZER.decode(first.token_ids[first.trainable].tolist()) == "12"
    assert first.sampler_logprobs is not None
    assert first.sampler_logprobs[first.trainable].tolist() == [-1.5]


def test_truncated_samples_can_be_masked() -> None:
    cut = Completion((5,), (-1.0,), "length", prompt_ids=(1,))
    whole = Completion((6,), (-1.0,), "stop", prompt_ids=(1,))
    group = rollouts.Group(
        Problem.from_text("x"), "none", [rollouts.Sample(c, {}, r) for c, r in ((cut, 0.0), (whole, 1.0))]
    )
    assert len(rollouts.to_examples([group], "mean")) == 2
    (kept,) = rollouts.to_examples([group], "mean", mask_truncated=True)
    assert kept.token_ids.tolist() == [1, 6] and kept.advantage == 0.5  # the truncated one still counts in the mean


def test_prompt_longer_than_the_context() -> None:
    def long(number: int) -> rollouts.Ask:
        return rollouts.Ask(number, Problem.from_text("x" * 60), "none", Judge(), Sampling(max_tokens=8))

    with pytest.raises(DataError, match=r"prompt of 62 tokens and max_tokens = 8 do not fit the model's context of 64"):
        rollouts.collect(
            Fake(lambda r: "1"), long, rollouts.Rewards({"task": 1.0}), problems=1, group_size=2, cursor=0,
            refill_rounds=0, seed_of=lambda n, g: 0,
        )  # fmt: skip


def test_rewards_are_weighted_parts() -> None:
    rewards = rollouts.Rewards({"task": 1.0, "short": {"grader": "length", "weight": 0.5, "soft": 1, "hard": 3}})
    done = Completion((1, 2), (), "stop", text="3")
    assert rewards(Judge(), Problem.from_text("x"), done).reward == pytest.approx(3 - 0.25)
    with pytest.raises(ConfigError, match="grader"):
        rollouts.Rewards({"lenght": 1.0})


@pytest.mark.parametrize(("weight", "reward"), [(0.0, 3.0), (0.5, None)])
def test_what_is_only_watched_can_not_cost_a_reward(weight: float, reward: float | None) -> None:
    rewards = rollouts.Rewards({"task": 1.0, "watch": {"grader": "math", "weight": weight}})
    found = rewards(Judge(), Problem.from_text("x"), Completion((1,), (), "stop", text="3", answer="3"))
    assert found.grades["watch"].score is None and found.reward == reward  # a problem without a reference is not graded


def test_presets_are_values_and_settings_override_them() -> None:
    for name, values in PRESETS.items():
        objective = configs.load(GRPOConfig, None, {"preset": name, "clip_low": 0.11}).objective()
        assert objective == Objective(**{**values, "clip_low": 0.11})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="known presets are grpo"):
        configs.load(GRPOConfig, None, {"preset": "gpro"}).objective()


def test_asks_are_decided_by_their_number() -> None:
    config = configs.load(GRPOConfig, None, {**TINY, "data": [{"task": "chain"}, {"task": "countdown", "weight": 3.0}]})
    first, second = Asker(config), Asker(config)
    asks = [first(n) for n in range(60)]
    again = [second(n) for n in reversed(range(60))][::-1]
    assert [(a.problem, a.effort, a.sampling) for a in asks] == [(a.problem, a.effort, a.sampling) for a in again]
    assert {a.effort for a in asks} == {"low", "high"}
    assert {a.problem.split for a in asks} == {"train"}
    assert 30 < sum(a.problem.task == "countdown" for a in asks) < 58
    held = first.held_out()
    assert {a.problem.split for a in held} == {"dev"}
    for a in asks:
        assert a.sampling.max_tokens == {"low": 8, "high": 12}[a.effort]


@pytest.mark.parametrize(
    "changes", [{"data": []}, {"data": [{"file": "x.jsonl"}]}, {"levels": {"low": {"share": 0.0}}}]
)
def test_bad_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Asker(configs.load(GRPOConfig, None, {**TINY, **changes}))


def test_one_run_writes_everything(tmp_path: Path) -> None:
    settings = {
        **TINY,
        "eval_every": 1,
        "eval_problems": 4,
        "eval_attempts": 2,
        "out": str(tmp_path / "run"),
        "kl_coef": 0.05,
    }
    settings |= {"rewards": {"length": {"soft": 1, "hard": 30}}, "minibatches": 2, "epochs": 2, "optimizer.lr": 0.02}
    settings |= {
        "levels": {"low": {"max_tokens": 20}, "high": {"max_tokens": 30, "think_budget": 9, "answer_reserve": 3}}
    }
    settings |= {"group_size": 8}
    summary = grpo.run(configs.load(GRPOConfig, None, settings))
    assert summary["steps"] == 2 and (tmp_path / "run/model/model.safetensors").exists()
    assert efforts.read(tmp_path / "run/model")["high"].think_budget == 9
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == [0, 1, 2]
    for key in (
        "reward", "reward_length", "entropy", "kl", "clip_share", "ratio", "length", "zero_variance_share", "truncated_share",
        "sampler_gap", "tokens_per_second", "seconds_sampling", "seconds_grading", "seconds_training", "grad_norm",
        "eval_pass1", "eval_pass1_interval", "eval_pass1_low", "eval_tokens_high",
    ):  # fmt: skip
        assert key in rows[-1], key
    assert rows[1]["sampler_gap"] < 1e-5  # the sampler in fp32 says what the trainer says
    assert rows[1]["kl"] > 0  # the reference stays while several updates move the policy
    assert 0 < rows[1]["entropy"] <= math.log(TOKENIZER.vocab_size) + 1e-4
    samples = [json.loads(x) for x in (tmp_path / "run/rollouts.jsonl").read_text().splitlines()]
    assert {s["step"] for s in samples} == {1, 2} and all(len(s["group_rewards"]) == 8 for s in samples)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["grpo", "dapo", "gspo", "cispo", "rloo", "dr_grpo", "r1"])
def test_reward_goes_up(preset: str, tmp_path: Path) -> None:
    """Reward for stopping early: an untrained model stops at chance, a trained one at once."""
    settings = {
        **TINY,
        "out": str(tmp_path / "run"),
        "preset": preset,
        "steps": 25,
        "problems_per_step": 4,
        "group_size": 8,
    }
    settings |= {
        "rewards": {"length": {"soft": 1, "hard": 16}},
        "levels": {"none": {"max_tokens": 16}},
        "optimizer.lr": 0.02,
    }
    settings |= {"optimizer.warmup": 0, "save_every": 0}
    grpo.run(configs.load(GRPOConfig, None, settings))
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["reward"] > rows[0]["reward"] + 0.3
