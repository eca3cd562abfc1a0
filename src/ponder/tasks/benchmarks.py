"""What each named benchmark of mathematics is: where its splits lie and how its raw rows read (`quizzes` has the others).

Design: `DESIGNS` is a table; a reader is a function from a raw row to the columns question, answer, tags and, where
rows carry a written solution, completion. Readers take the columns of the authors' files and of the public data sets.
Departures from the files, each for a reason: GSM8K answers lose their thousands commas; whole floats lose their `.0`;
GSM-Hard's rounded quotients (5.3333333333) become fractions; of MATH's solutions with several boxes, those joined by
"and" give all values, and five are set right by hand; two MATH training rows without an answer and two whose question
the test asks are left out. MultiArith asks 20 of its 600 questions twice: both stay, as everyone counts 600.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from ponder.errors import DataError
from ponder.tasks.columns import reference_of
from ponder.tasks.rows import Row, read_rows
from ponder.types import Split, content_hash

Raw = Mapping[str, Any]
ANSWERED: Mapping[str, str] = {"question": "question", "reference": "answer", "tags": "tags"}
SOLVED: Mapping[str, str] = {**ANSWERED, "completion": "completion"}
BOXED = "{question}\nPut the final answer in \\boxed{}."


@dataclass(frozen=True, slots=True)
class Source:
    """One split of a benchmark: its file under PONDER_DATA, and its public data set with the parquet files there.

    `{subset}` in a name stands for each of the benchmark's subsets. `also` are other names the file goes by.
    """

    file: str
    public: str = ""
    parts: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    read: Callable[[str | Path], Iterable[Row | DataError]] = read_rows


@dataclass(frozen=True, slots=True)
class Design:
    """What a benchmark is: where its splits lie, how a raw row reads (None leaves the row out), which problems (by id)
    to leave out of training because the test asks them too. `unique`: a question asked twice is an error in the file."""

    sources: Mapping[Split, Source]
    convert: Callable[[Raw], Raw | None]
    columns: Mapping[str, str] = field(default_factory=lambda: ANSWERED)
    left_out: frozenset[str] = frozenset()
    template: str = BOXED
    grader: str = "math"
    subsets: tuple[str, ...] = ()
    unique: bool = False


def gsm8k(raw: Raw) -> Raw:
    """A solution whose last line is `#### answer`; the calculator's `<<48/2=24>>` marks are taken out."""
    solution, mark, final = str(raw["answer"]).rpartition("####")
    final = final.strip().replace(",", "")
    if not mark or not final:
        raise ValueError("the answer has no '#### ' line with the final number")
    thinking = re.sub(r"<<[^<>]*>>", "", solution).strip()
    completion = f"<think>{thinking}</think>\\boxed{{{final}}}"
    return {
        "question": raw["question"],
        "answer": final,
        "completion": completion,
        "tags": {"steps": thinking.count("\n") + 1},
    }


def competition(raw: Raw) -> Raw | None:
    """Competition problems: the answer stands in its own column or in the boxes of the solution."""
    given = raw.get("answer", raw.get("final_answer"))
    answer = (str(given) if given is not None else boxed(str(raw["solution"]))).strip().removesuffix(".")
    if not answer:
        return None
    question = str(raw["problem"])
    tags: dict[str, Any] = {}
    if (subject := raw.get("subject", raw.get("type"))) is not None:
        tags["subject"] = subject
    if (level := re.search(r"\d", str(raw.get("level", "")))) is not None:
        tags["level"] = int(level.group())
    fixed = MATH_FIXED.get(content_hash(" ".join(question.split())), answer)
    return {"question": question, "answer": fixed, "tags": tags}


def aime(raw: Raw) -> Raw:
    """A whole number from 0 to 999; leading zeros are taken off."""
    question = raw["problem"] if "problem" in raw else raw["question"]
    answer = str(raw["answer"]).strip()
    if not re.fullmatch(r"[0-9]{1,3}", answer):
        raise ValueError(f"the answer {answer[:20]!r} is not a whole number from 0 to 999")
    return {"question": question, "answer": str(int(answer)), "tags": {}}


def svamp(raw: Raw) -> Raw:
    """A story and a question about it, two columns joined; some stories lack their full stop."""
    body = str(raw["Body"]).strip()
    stop = "" if body.endswith((".", "?", "!", ",")) else "."
    answer = reference_of(float(raw["Answer"]))
    return {
        "question": f"{body}{stop} {str(raw['Question']).strip()}",
        "answer": answer,
        "tags": {"type": raw.get("Type")},
    }


def word_problem(raw: Raw) -> Raw:
    """A question and a number, under the names the collections use."""
    question = raw["question"] if "question" in raw else raw["input"]
    target = raw["final_ans"] if "final_ans" in raw else raw["target"]
    return {"question": question, "answer": exact(float(target)), "tags": {}}


def exact(value: float) -> str:
    """The number meant by a float: a fraction of denominator up to 1000 where the float is its rounding, else its
    decimals. Floats here were printed with ten decimals or in full."""
    near = Fraction(value).limit_denominator(1000)
    meant = abs(float(near) - value) <= max(5e-11, 1e-14 * abs(value)) and near != 0
    if not meant or near.denominator == 1:
        return str(reference_of(float(near) if meant else value))
    rest = near.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return str(near) if rest > 1 else str(reference_of(float(near)))


_JOINED = re.compile(r"\}?[\s.,$]*(?:\\text\s*\{\s*)?and\b[^.]{0,20}")


def boxed(solution: str) -> str:
    """The last box of a solution, with those before it that are joined to it by "and"."""
    values: list[str] = []
    end = 0
    for match in re.finditer(r"\\boxed\s*\{", solution):
        if match.start() < end:
            continue
        if values and not _JOINED.fullmatch(solution[end - 1 : match.start()]):
            values.clear()
        depth, start = 1, match.end()
        end = start
        while depth and end < len(solution):
            depth += (solution[end] == "{") - (solution[end] == "}")
            end += 1
        values.append(solution[start : end - 1].strip())
    if not values:
        raise ValueError("the solution has no \\boxed{} answer")
    return ", ".join(dict.fromkeys(values))


# By the hash of the question. Boxes that hold parts of the answer in separate sentences, or that hold something else.
MATH_FIXED = {
    "5e6297d3a4d924b4": "-3",  # the note "3 is also accepted" contradicts the solution
    "0b59dea588bb6230": "5-10i, 11, -3+6i",
    "f4a04ffdc54d7969": "-10879, 10879",
    "f1d395d74bddb022": "3, \\frac{2}{5}",
    "1e823fd818b4857b": "(3,-5)",  # (0,0) is the point every odd function has
}

BOTH = ("default/train/0000.parquet", "default/test/0000.parquet")
MATH_PUBLIC = "DigitalLearningGmbH/MATH-lighteval"
DESIGNS: Mapping[str, Design] = {
    "gsm8k": Design(
        {
            "train": Source("gsm8k/train.jsonl", "openai/gsm8k", ("main/train/0000.parquet",)),
            "test": Source("gsm8k/test.jsonl", "openai/gsm8k", ("main/test/0000.parquet",)),
        },
        gsm8k,
        SOLVED,
    ),
    "math": Design(
        {
            "train": Source("math/math_problems_answers.json", MATH_PUBLIC, ("default/train/0000.parquet",)),
            "test": Source("math/math_test_5000.jsonl", MATH_PUBLIC, ("default/test/0000.parquet",)),
        },
        competition,
        left_out=frozenset({"4ac0e9af5819e278", "e7862bcff54b8268"}),
    ),
    "math500": Design(
        {"test": Source("math/math500_test.jsonl", "HuggingFaceH4/MATH-500", ("default/test/0000.parquet",))},
        competition,
    ),
    "aime24": Design(
        {"test": Source("aime/aime24.jsonl", "HuggingFaceH4/aime_2024", ("default/train/0000.parquet",))},
        aime,
        unique=True,
    ),
    "aime25": Design(
        {"test": Source("aime/aime25.jsonl", "math-ai/aime25", ("default/test/0000.parquet",))}, aime, unique=True
    ),
    "svamp": Design({"test": Source("math_misc/svamp_normalised.jsonl", "ChilleD/SVAMP", BOTH)}, svamp),
    "multiarith": Design({"test": Source("math_misc/multiarith.jsonl", "ChilleD/MultiArith", BOTH)}, word_problem),
    "addsub": Design({"test": Source("math_misc/addsub.jsonl")}, word_problem),
    "singleeq": Design({"test": Source("math_misc/singleeq.jsonl")}, word_problem),
    "gsm_hard": Design(
        {"test": Source("math_misc/gsm_hard.jsonl", "reasoning-machines/gsm-hard", ("default/train/0000.parquet",))},
        word_problem,
    ),
}
