"""From a word to a verifier, pairs, and whether a verifier can read what an engine writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder import verifiers
from ponder.engines.local import LocalEngine
from ponder.errors import CheckpointError, ConfigError
from ponder.models import heads
from ponder.search.drive import Driver
from ponder.search.solve import make_job, solve
from ponder.tasks.countdown import Countdown
from ponder.text.tokenizer import Tokenizer
from ponder.types import Budget, Ledger, Semantics, Trace
from ponder.verifiers.headed import HeadedVerifier, same_vocabulary
from ponder.verifiers.pair import PairVerifier
from verifiers.tiny import TOKENIZER, headed, trace, trunk


def save(folder: Path, semantics: str = "outcome", seed: int = 0) -> str:
    about = {"verifier": {"kind": "outcome" if semantics == "outcome" else "process", "semantics": semantics}}
    heads.save(headed(seed), folder, TOKENIZER, about)
    return str(folder)


class Fixed:
    """Scores by a table of what a trace ends in."""

    semantics: Semantics = "correctness"

    def __init__(self, name: str, value: float) -> None:
        self.name, self.value, self.read = name, value, 0

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        self.read += sum(len(t.token_ids) for t in traces)
        return [self.value] * len(traces)

    @property
    def ledger(self) -> Ledger:
        return Ledger(verified=self.read)


@pytest.mark.parametrize("semantics", ["outcome", "value", "correctness"])
def test_a_folder_says_what_its_scores_mean(semantics: str, tmp_path: Path) -> None:
    verifier = verifiers.load(save(tmp_path / "mine", semantics))
    assert (verifier.name, verifier.semantics) == ("mine", semantics)
    assert verifier.score([trace((30, 31))]) == HeadedVerifier(headed(), TOKENIZER, "outcome").score([trace((30, 31))])


def test_a_run_stands_for_the_model_in_it(tmp_path: Path) -> None:
    save(tmp_path / "run/model")
    (tmp_path / "run/config.json").write_text("{}")
    assert verifiers.load(str(tmp_path / "run")).name == "run"


def test_pairs_ask_each_what_it_can_know(tmp_path: Path) -> None:
    pair = PairVerifier(Fixed("process", 0.25), Fixed("outcome", 0.75))
    traces = [trace((1, 2), finished=done) for done in (True, False, True)]
    assert pair.score(traces) == [0.75, 0.25, 0.75]
    assert (pair.name, pair.semantics, pair.ledger.verified) == ("process+outcome", "value", 6)
    assert pair.score([]) == []
    loaded = verifiers.load(f"{save(tmp_path / 'a', 'value', 1)}+{save(tmp_path / 'b', 'outcome', 2)}")
    alone = [HeadedVerifier(headed(seed), TOKENIZER, "outcome").score([trace((30, 31))])[0] for seed in (1, 2)]
    assert loaded.score([trace((30, 31)), trace((30, 31), finished=True)]) == alone
    assert getattr(loaded, "reads", "") == "tokens"


def test_bad_words(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        verifiers.load(str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="no such file"):
        (tmp_path / "empty").mkdir()
        verifiers.load(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="verifier precision 'int4'"):
        verifiers.load(save(tmp_path / "mine"), dtype="int4")
    from ponder import models

    models.save(trunk(), tmp_path / "generator", TOKENIZER)
    with pytest.raises(CheckpointError, match="no score head"):
        verifiers.load(str(tmp_path / "generator"))


def test_another_vocabulary_is_refused_before_anything_is_drawn() -> None:
    engine = LocalEngine(trunk(), TOKENIZER)
    other = Tokenizer.mini()
    assert same_vocabulary(TOKENIZER, other)
    HeadedVerifier(headed(), other, "outcome").fits(engine)
    other.inner.add_tokens(["new"])
    verifier = HeadedVerifier(headed(), other, "outcome", name="foreign")
    problem = Countdown().problem([3, 4, 5], 12)
    with pytest.raises(ConfigError, match="'foreign' was trained on another vocabulary"):
        solve(problem, engine, "best_of_n", 2, verifier=verifier)
    with pytest.raises(ConfigError, match="another vocabulary"):
        PairVerifier(HeadedVerifier(headed(), TOKENIZER, "value"), verifier).fits(engine)
    assert engine.ledger == Ledger()


SEARCHES: dict[str, dict[str, Any]] = {"best_of_n": {"n": 4}, "beam": {"n": 4}}


@pytest.mark.parametrize("strategy", SEARCHES)
def test_search_reads_each_token_of_the_tree_at_most_once(strategy: str) -> None:
    engine = LocalEngine(trunk(7), TOKENIZER)
    verifier = HeadedVerifier(headed(8), TOKENIZER, "value")
    jobs = [
        make_job(problem, engine, strategy, verifier=verifier, max_tokens=30, options=SEARCHES[strategy])
        for problem in Countdown().problems("test", 3)
    ]
    solutions = Driver(engine, verifier).run(jobs)
    for solution in solutions:
        assert 0 < solution.ledger.verified <= solution.tree.tokens
        assert any(score is not None for score in solution.tree.scores.values())
    assert sum(s.ledger.verified for s in solutions) == verifier.ledger.verified


def test_a_pair_keeps_a_budget() -> None:
    engine = LocalEngine(trunk(7), TOKENIZER)
    pair = PairVerifier(HeadedVerifier(headed(8), TOKENIZER, "value"), HeadedVerifier(headed(9), TOKENIZER, "outcome"))
    for tokens in (40, 90, 200, 400):
        solution = solve(
            Countdown().problem([3, 4, 5], 12),
            engine,
            "beam",
            4,
            verifier=pair,
            budget=Budget(tokens=tokens),
            max_tokens=30,
        )
        assert solution.ledger.forwarded <= tokens
