"""Outcome and process models end to end on a small trunk: they learn a trivial check, resume to the bit, and refuse bad data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from ponder import config, models, verifiers
from ponder.errors import ConfigError, DataError
from ponder.models.config import ModelConfig
from ponder.models.transformer import Transformer
from ponder.training import labelled, outcome, process
from ponder.training.labelled import Ask, to_example
from ponder.training.loop import TIMES
from ponder.types import Message, Split
from ponder.verifiers import samples
from ponder.verifiers.samples import LabelledSample
from verifiers.tiny import TOKENIZER

NAN = float("nan")
DIGITS = "0123456789"


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("trunk")
    sizes: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2, "kv_heads": 1, "hidden": 48, "context": 64}
    models.save(Transformer(ModelConfig(TOKENIZER.vocab_size, **sizes), 0), folder, TOKENIZER)
    return str(folder)


def sample(
    asked: str, written: list[str], labels: list[float | None], split: Split = "train", **more: Any
) -> LabelledSample:
    messages = (Message("user", asked),)
    pieces = [TOKENIZER.encode(text) for text in written]
    starts = tuple(int(i) for i in np.cumsum([0, *map(len, pieces)])[:-1])
    ids = [*(i for piece in pieces for i in piece), TOKENIZER.stop_ids[0]]
    made: dict[str, Any] = {"problem": asked, "messages": messages, "prompt_ids": TOKENIZER.render(messages)}
    made |= {"token_ids": tuple(ids), "starts": starts, "labels": tuple(labels), "kind": "value", "split": split}
    return LabelledSample(**{**made, "logprobs": (-0.5,) * len(ids), **more})


def small_digits(path: Path, rows: int = 400) -> str:
    """A step is right when its digit is below 5; a solution when its last step is."""
    rng = random.Random(0)
    made: list[LabelledSample] = []
    for n in range(rows):
        said = [rng.choice(DIGITS) for _ in range(2)]
        labels: list[float | None] = [float(int(s) < 5) for s in said]
        split: Split = "dev" if n % 8 == 0 else "train"
        made.append(sample(str(n % 10), [f"{said[0]};", said[1]], labels, split, correct=bool(labels[1])))
    samples.write(path, made)
    return str(path)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_digits(tmp_path_factory.mktemp("rows") / "rows.jsonl")


TINY: dict[str, Any] = {
    "steps": 25, "tokens_per_step": 300, "eval_every": 25, "save_every": 0, "threads": 1, "dtype": "fp32",
    "optimizer.lr": 5e-3, "optimizer.muon_lr": 0.03, "optimizer.warmup": 5,
}  # fmt: skip


def settings(kind: Any, out: Path, trunk: str, data: list[dict[str, Any]], **more: Any) -> Any:
    return config.load(kind, None, {**TINY, "out": str(out), "model": trunk, "data": data, **more})


def test_an_outcome_model_learns_to_check(trunk: str, rows: str, tmp_path: Path) -> None:
    out = outcome.run(settings(outcome.OutcomeConfig, tmp_path / "run", trunk, [{"file": rows}], lm_coef=0.1))
    assert out["eval_final_loss"] < 0.3 * out["eval_final_base_loss"]
    assert out["eval_final_auc"] > 0.98
    assert out["eval_loss"] > out["eval_final_loss"]  # before the answer stands there nobody can know it
    verifier = verifiers.load(str(tmp_path / "run"))
    assert verifier.semantics == "outcome"
    right, wrong = (sample("7", ["8;", digit], [None, None]).trace() for digit in "27")
    scores = verifier.score([right, wrong])
    assert scores[0] is not None and scores[1] is not None
    assert scores[0] > 0.8 > 0.2 > scores[1]


def test_a_process_model_learns_to_check_every_step(trunk: str, rows: str, tmp_path: Path) -> None:
    out = process.run(settings(process.ProcessConfig, tmp_path / "run", trunk, [{"file": rows}], loss="mse"))
    assert out["eval_loss"] < 0.3 * out["eval_base_loss"]
    verifier: Any = verifiers.load(str(tmp_path / "run/model"))
    assert verifier.semantics == "value"
    (steps,) = verifier.steps([sample("7", ["1;", "8"], [None, None]).trace()])
    assert steps[0] > 0.8 > 0.2 > steps[1]


def test_going_on_from_a_verifier(trunk: str, rows: str, tmp_path: Path) -> None:
    first = outcome.run(settings(outcome.OutcomeConfig, tmp_path / "a", trunk, [{"file": rows}], steps=60))
    second = outcome.run(
        settings(outcome.OutcomeConfig, tmp_path / "b", str(tmp_path / "a"), [{"file": rows}], steps=1, eval_every=1)
    )
    assert second["eval_final_loss"] < 0.75 * first["eval_final_base_loss"]  # one step from scratch stays near it
    with pytest.raises(ConfigError, match="trained with the other setting"):
        outcome.run(
            settings(outcome.OutcomeConfig, tmp_path / "c", str(tmp_path / "a"), [{"file": rows}], inputs="logprobs")
        )
    with pytest.raises(ConfigError, match="no output matrix of its own"):
        outcome.run(settings(outcome.OutcomeConfig, tmp_path / "d", str(tmp_path / "a"), [{"file": rows}], lm_coef=1.0))


def without_times(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES and not k.startswith("seconds")} for row in lines]


DRAWN = [{"task": "countdown", "efforts": ["low", "high"]}, {"task": "chain", "weight": 0.5, "limit": 5}]


@pytest.mark.parametrize("kind", ["file", "drawn"])
def test_a_broken_off_run_resumes_to_the_bit(kind: str, trunk: str, rows: str, tmp_path: Path) -> None:
    data: list[dict[str, Any]] = [{"file": rows}] if kind == "file" else DRAWN
    more: dict[str, Any] = {
        "generator": trunk,
        "max_tokens": 12,
        "samples": 3,
        "tokens_per_step": 900,
        "inputs": "logprobs",
    }
    more |= {"eval_every": 2, "eval_problems": 4, "eval_samples": 3, "save_every": 2, "optimizer.schedule": "constant"}
    kinds: Any = process.ProcessConfig
    process.run(settings(kinds, tmp_path / "whole", trunk, data, steps=5, **more))
    process.run(settings(kinds, tmp_path / "broken", trunk, data, steps=3, **more))
    process.run(settings(kinds, tmp_path / "broken", trunk, data, steps=5, **more))
    a, b = (without_times(tmp_path / name) for name in ("whole", "broken"))
    assert [r for r in b if r["step"] in (1, 2, 4, 5)] == [r for r in a if r["step"] in (1, 2, 4, 5)]
    one, two = (load_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "broken"))
    assert all((one[name] == two[name]).all() for name in one)


def test_drawn_samples_carry_the_tasks_labels(trunk: str) -> None:
    from ponder import engines

    part = labelled.DrawnPart(
        {"task": "countdown", "efforts": ["low"]},
        3,
        engines.load("mini"),
        "value",
        samples=3,
        temperature=1.0,
        max_tokens=None,
    )
    made = [s for s, _ in part.make(range(9))]
    assert [s.problem for s in made] == [p for p in dict.fromkeys(s.problem for s in made) for _ in range(3)]
    assert made[4:7] == [s for s, _ in part.make(range(4, 7))]  # a sample depends on its number alone
    for s in made:
        samples.check(s, "drawn")
        assert s.split == "train" and s.kind == "value" and s.source == "exact"
        assert s.labels[-1] == (None if not s.finished else float(bool(s.correct)))
    held_out = part.held_out(2, 2)
    assert {s.split for s in held_out} == {"dev"} and len(held_out) == 4


def test_targets_stand_where_they_are_asked() -> None:
    row = sample("7", ["3;", "5;", "7"], [0.0, None, 1.0], correct=True)
    start = len(row.prompt_ids)
    steps = to_example(row, Ask(steps=True), TOKENIZER)
    assert steps.targets is not None
    assert np.isnan(steps.targets).tolist() == [*[True] * start, True, False, True, True, True, False]
    assert (steps.targets[start + 1], steps.targets[-1], steps.learned) == (0.0, 1.0, 0)
    whole = to_example(row, Ask(language=True), TOKENIZER)
    assert whole.targets is not None
    assert whole.targets[start:].tolist() == [1.0] * 6 and np.isnan(whole.targets[:start]).all()
    assert whole.trainable.tolist() == [False] * start + [True] * 6
    wrong = to_example(sample("7", ["3"], [0.0], correct=False), Ask(language=True), TOKENIZER)
    assert wrong.learned == 0  # only right solutions are imitated
    unknown = to_example(sample("7", ["3"], [None]), Ask(), TOKENIZER)
    assert unknown.targets is not None and np.isnan(unknown.targets).all()


def test_samples_of_text_are_encoded_step_by_step() -> None:
    row = LabelledSample(
        problem="p", messages=(Message("user", "7"),), texts=("3;", "7"), labels=(0.0, 1.0), correct=True
    )
    assert (
        to_example(row, Ask(steps=True), TOKENIZER).token_ids.tolist()
        == to_example(sample("7", ["3;", "7"], [0.0, 1.0]), Ask(steps=True), TOKENIZER).token_ids.tolist()
    )
    with pytest.raises(DataError, match="row 3: a step without text"):
        to_example(LabelledSample(problem="p", messages=(), texts=("a", "")), Ask(), TOKENIZER, "row 3")


def test_held_out_rows_of_a_file_of_their_own(trunk: str, rows: str, tmp_path: Path) -> None:
    apart = tmp_path / "apart.jsonl"
    two = [sample("new", ["3;", "9"], [1.0, 0.0], correct=False), sample("new", ["3"], [1.0], correct=True)]
    samples.write(apart, two)
    data = [{"file": rows, "held_out": str(apart)}]
    found = process.run(settings(process.ProcessConfig, tmp_path / "run", trunk, data, steps=1))
    assert (found["eval_base_rate"], found["eval_final_base_rate"]) == (pytest.approx(2 / 3), 0.5)
    with pytest.raises(DataError, match=r"10 of its problems are in .*rows\.jsonl too"):
        process.run(settings(process.ProcessConfig, tmp_path / "bad", trunk, [{"file": rows, "held_out": rows}]))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"data": []}, "data is empty"),
    ({"data": [{"task": "countdown", "file": "x"}]}, "either task or file"),
    ({"data": [{"file": "ROWS", "wieght": 2}]}, "unknown key 'wieght'"),
    ({"data": [{"task": "chian"}]}, "did you mean 'chain'"),
    ({"compile": True}, "verifiers train without it"),
    ({"generator": "nowhere/at/all", "data": [{"task": "chain"}]}, "no model here"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_bad_settings(change: dict[str, Any], says: str, trunk: str, rows: str, tmp_path: Path) -> None:
    from ponder.errors import PonderError

    data = [{k: rows if v == "ROWS" else v for k, v in entry.items()} for entry in change.get("data", [{"file": rows}])]
    rest = {k: v for k, v in change.items() if k != "data"}
    with pytest.raises(PonderError, match=says):
        outcome.run(settings(outcome.OutcomeConfig, tmp_path / "run", trunk, data, **rest))


def test_bad_rows(trunk: str, tmp_path: Path) -> None:
    def refuse(name: str, kind: Any, made: list[LabelledSample], **more: Any) -> str:
        samples.write(tmp_path / f"{name}.jsonl", made)
        data = [{"file": str(tmp_path / f"{name}.jsonl")}]
        runner = process if kind is process.ProcessConfig else outcome
        with pytest.raises((DataError, ConfigError)) as caught:
            runner.run(settings(kind, tmp_path / name, trunk, data, **more))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    unknown = sample("7", ["3"], [None])
    assert "no training rows with known correctness among its 1 rows" in refuse("a", outcome.OutcomeConfig, [unknown])
    assert "no training rows with labelled steps" in refuse("b", process.ProcessConfig, [unknown])
    other = sample("7", ["3"], [1.0], kind="correctness")
    assert "kind 'correctness' where labels = 'value'" in refuse("c", process.ProcessConfig, [other])
    fine = sample("7", ["3"], [1.0], correct=True)
    assert "no held-out rows" in refuse("d", outcome.OutcomeConfig, [fine])
    foreign = sample("7", ["3"], [1.0], correct=True, prompt_ids=(5, 4000))
    assert "beyond the model's vocabulary" in refuse("e", outcome.OutcomeConfig, [foreign], eval_every=0)
    silent = sample("7", ["3"], [1.0], correct=True, logprobs=())
    said = refuse("f", outcome.OutcomeConfig, [silent], eval_every=0, inputs="logprobs")
    assert "reads log-probabilities (inputs), and this sample has none" in said
    long = sample("7", ["3" * 90], [1.0], correct=True)
    assert "do not fit the context of 64" in refuse("g", outcome.OutcomeConfig, [long], eval_every=0)
