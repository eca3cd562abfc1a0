"""Short facts: what counts as stating one, and how often the rule agrees with a judge's released verdicts."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ponder
from ponder.graders.facts import FactGrader, forms, states, tally, tokens
from ponder.types import Grade

DATA = Path(os.environ.get("PONDER_DATA") or Path(__file__).parents[3] / "shared" / "data")
JUDGED = DATA / "simpleqa" / "gpt-4o-mini-2024-07-18.csv.gz"


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("Michio Sugeno", "michio sugeno", True),
        ("Michio Sugeno", "It was awarded to Michio Sugeno in 2010.", True),
        ("Michio Sugeno", "Sugeno", False),
        ("Michio Sugeno", "Either Michio Sugeno or Lotfi Zadeh", False),
        ("Bolzano, Italy", "Bolzano in Italy", True),
        ("July 21, 2022", "21 July 2022", True),
        ("July 21, 2022", "on the 21st of July, 2022", True),
        ("July 21, 2022", "July 12, 2022", False),
        ("Dec 2013", "december 2013", True),
        ("Düsseldorf", "dusseldorf", True),
        ("The Cradle Will Rock", "“Cradle Will Rock”", True),
        ("Kunstakademie Düsseldorf (Arts Academy Düsseldorf)", "Kunstakademie Dusseldorf", True),
        ("Kunstakademie Düsseldorf (Arts Academy Düsseldorf)", "Arts Academy Düsseldorf", True),
        ("7,804", "7804 people", True),
        ("7,804", "about 7,800", False),
        ("29,137.40", "29137.4", True),
        ("120k", "124k", True),
        ("120k", "113k", False),
        ("120k", "115,500", True),
        ("1.73 m", "1.734", True),
        ("1.73 m", "1.75", False),
        ("1907", "1907", True),
        ("1907", "In 1908", False),
        ("4", "She won 3 in season 4", False),
        ("4", "It has 4.", True),
        ("15", "5", False),
        ("5", "15", False),
        ("May 14, 2007", "14 may 2007", True),
    ],
)
def test_states(gold: str, answer: str, right: bool) -> None:
    assert states(gold, answer) is right


def test_a_long_text_does_not_state_a_fact_it_happens_to_hold() -> None:
    names = " ".join(f"name{i} surname{i}" for i in range(40))
    assert not states("name3 surname3", names)
    assert states("name3 surname3", names, longest=200)


def test_forms_and_tokens() -> None:
    assert forms("4.5 m (15 ft)") == ["4.5 m (15 ft)", "4.5 m  ", "15 ft"]
    assert tokens("The 21st of July, 1,000,000 cats") == ["7-21", "1000000", "cats"]
    assert tokens("the") == ["the"]


def test_three_verdicts() -> None:
    def verdict(completion: str) -> tuple[str, str | None]:
        grade = ponder.grade("facts", reference="Jodelle Ferland", completion=completion)
        return grade.outcome, grade.parts.get("verdict")

    assert verdict("<think>hm</think>\\boxed{Jodelle Ferland}") == ("correct", "correct")
    assert verdict("<think>Jodelle Ferland</think>\\boxed{unknown}") == ("unparsed", "not attempted")
    assert verdict("I don't know.") == ("unparsed", "not attempted")
    assert verdict("<think>still thinking of Jodelle Ferland") == ("unparsed", "not attempted")
    assert verdict("I am not sure, perhaps nobody: Jodelle Ferland") == ("unparsed", "not attempted")
    assert verdict("Dakota Fanning") == ("wrong", "wrong")
    assert ponder.grade("facts", reference=["x1", "y2"], completion="y2").correct
    assert ponder.grade("facts", reference=None, completion="x").outcome == "error"


@given(st.text(max_size=80), st.text(max_size=80))
def test_hostile_text_is_graded(gold: str, answer: str) -> None:
    grade = FactGrader().check(gold, answer)
    assert grade.outcome in ("correct", "wrong", "unparsed", "error")


def test_tally_by_hand() -> None:
    grades = [Grade(1.0, "correct", {"verdict": "correct"})] * 3 + [Grade(0.0, "wrong", {"verdict": "wrong"})] * 3
    grades += [Grade(0.0, "unparsed", {"verdict": "not attempted"})] * 4 + [Grade(None, "error")] * 5
    found = tally(grades)
    assert found == pytest.approx(
        {"correct": 0.3, "wrong": 0.3, "not_attempted": 0.4, "accuracy_attempted": 0.5, "f": 0.375}
    )
    with pytest.raises(ValueError, match="no grades"):
        tally([Grade(None, "error")])


@pytest.mark.skipif(not JUDGED.exists(), reason="the public data sets are not here; set PONDER_DATA")
def test_against_released_judgements() -> None:
    """4,326 Czech sentences and a model's verdicts. The rule is strict: it hardly ever calls right what the judge does not,
    and misses what inflection and other wording hide."""
    grader, table = FactGrader(), Counter[tuple[bool, bool]]()
    with gzip.open(JUDGED, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(io.StringIO(stream.read())):
            table[row["grade"] == "A", grader.check(row["target"], row["predicted_answer"]).correct] += 1
    assert sum(table.values()) == 4326
    assert table[True, True] / (table[True, True] + table[False, True]) > 0.95
    assert table[True, True] / (table[True, True] + table[True, False]) > 0.55
