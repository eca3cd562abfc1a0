"""The named benchmarks of programs: write a function, write a program, repair one, say what one returns.

Each reader makes the reference of the `code` grader (see `ponder.graders.spec`), checked while reading. Tests that the
question shows are `visible`, the others hidden. Departures from the authors' harnesses: HumanEval's shown tests are the
examples of its docstrings that have a plain value; MBPP shows the first of its asserts instead of all three, so that two stay
hidden; QuixBugs keeps the 31 of 41 programs whose tests are plain data; LiveCodeBench's private tests are unpacked without
running what a pickle may ask for. Values are compared as `==` would for test texts (HumanEval, MBPP), as JSON elsewhere.
Visible means shown: QuixBugs' first case and public tests that LiveCodeBench's statement leaves out are added to the question.
Not covered: LiveCodeBench's own data (give its file), few-shot prompts.
"""

from __future__ import annotations

import ast
import base64
import binascii
import doctest
import io
import json
import pickle
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

from ponder.errors import DataError
from ponder.graders import spec
from ponder.tasks.benchmarks import SOLVED, Design, Raw, Source
from ponder.tasks.rows import Row, read_rows

FENCED = "{question}\n\nGive the whole program in one ```python block."
OUTPUT = "{question}\n\nEnd with a line that says 'Answer:' and then the value alone, as a Python literal."
LARGEST = 512 << 20
COMMON = "import collections, functools, heapq, itertools, math, re, string, sys\nfrom typing import *\n"
SLOW = {
    "levenshtein": "amanaplanacanalpanama",
    "knapsack": 6404180,
}  # first arguments of cases QuixBugs calls slow, too
EXPONENTIAL = {"levenshtein"}  # whose right program needs about two seconds of processor for one case
UNTRUE = {"HumanEval/47"}  # whose docstring gives a wrong example


def human_eval(raw: Raw) -> Raw:
    """A prompt that ends in a docstring, the body that completes it, and `def check(candidate)` with the asserts."""
    prompt, entry = _text(raw, "prompt"), _text(raw, "entry_point")
    shown = [] if raw["task_id"] in UNTRUE else examples(prompt, entry)
    reference: dict[str, Any] = {"entry": entry, "prompt": prompt, "asserts": _text(raw, "test")}
    if shown:
        reference["visible"] = {"asserts": shown}
    return {
        "question": f"Complete this function.\n\n```python\n{prompt.rstrip()}\n```",
        "answer": _sound(reference),
        "completion": fenced(prompt + _text(raw, "canonical_solution")),
        "tags": {"task_id": raw["task_id"]},
    }


def examples(prompt: str, entry: str = "") -> list[str]:
    """The `>>> f(…)` examples of a prompt whose value is a literal, as asserts; of any function unless `entry` names one."""
    found: list[str] = []
    try:
        parsed = doctest.DocTestParser().get_examples(prompt)
    except ValueError:
        return found
    for example in parsed:
        source, want = example.source.strip(), example.want.strip()
        try:
            ast.literal_eval(want)
            call = ast.parse(source, mode="eval").body
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == (entry or call.func.id):
            found.append(f"assert {source} == {want}")
    return found


def mbpp(raw: Raw) -> Raw:
    """A sentence and asserts; the first is shown, the others (and the challenge tests) are hidden."""
    text = str(raw["text"] if "text" in raw else raw["prompt"]).strip()
    given = _list(raw, "test_list") + list(raw.get("challenge_test_list") or [])
    tests = list(dict.fromkeys(str(t).strip() for t in given))
    if not tests:
        raise ValueError("no tests")
    hidden = tests[1:] or tests  # one problem gives the same assert three times
    reference: dict[str, Any] = {
        "asserts": hidden,
        "visible": {"asserts": tests[:1]},
        "setup": COMMON,
        "cpu_seconds": 6,
    }
    reference["beside"] = str(raw.get("test_setup_code") or "").strip() or "pass"  # arguments use the program's classes
    return {
        "question": f"{text}\nThis must hold:\n```python\n{tests[0]}\n```",
        "answer": _sound(reference),
        "completion": fenced(_text(raw, "code").replace("\r\n", "\n")),
        "tags": {"task_id": raw["task_id"]},
    }


def _numbered(first: int, last: int, path: str | Path) -> Iterator[Row | DataError]:
    """The rows of one file whose task_id lies between two numbers."""
    for row in read_rows(path):
        if isinstance(row, DataError) or first <= int(row.data.get("task_id", first)) <= last:
            yield row


def quixbugs(raw: Raw) -> Raw | None:
    """A program with one wrong line, its repair, and cases `[arguments, expected]`; None where there are no cases."""
    cases = cast("list[Any]", raw["cases"])
    if not cases:
        return None
    name = _text(raw, "name")
    calls = [[given if isinstance(given, list) else [given], want] for given, want in cases]
    calls = [call for call in calls if SLOW.get(name) != call[0][0]]
    near = 1e-2 if name == "sqrt" else 1e-9  # a root is asked for to within its second argument, 0.01 at the least
    reference: dict[str, Any] = {"entry": name, "types": "json", "collect": True, "tolerance": near}
    if name in EXPONENTIAL:
        reference["cpu_seconds"] = 10
    question = f"One line of this program is wrong. Repair it.\n\n```python\n{_text(raw, 'buggy').strip()}\n```"
    if len(calls) > 2:
        reference |= {"cases": calls[1:], "visible": {"cases": calls[:1], "entry": name}}
        given, want = calls[0]
        question += f"\n\nFor example, `{name}({', '.join(map(repr, given))})` should give `{want!r}`."
    else:
        reference["cases"] = calls
    return {
        "question": question,
        "answer": _sound(reference),
        "completion": fenced(_text(raw, "correct")),
        "tags": {"name": name},
    }


def _with_cases(path: str | Path) -> Iterator[Row | DataError]:
    """QuixBugs' programs, each with the cases of json_testcases/NAME.json beside the file."""
    folder = Path(path).parent / "json_testcases"
    if not folder.is_dir():
        raise DataError(f"{path}: no folder json_testcases beside it, which holds the tests")
    for row in read_rows(path):
        if isinstance(row, DataError):
            yield row
            continue
        file = folder / f"{Path(str(row.data.get('name'))).name}.json"
        try:
            lines = file.read_text().splitlines() if file.is_file() else []
            yield Row(row.where, {**row.data, "cases": [json.loads(line) for line in lines if line.strip()]})
        except ValueError as error:
            yield DataError(f"{file}: not JSON lines ({error})")


def livecodebench(raw: Raw) -> Raw:
    """A statement with public and private tests: what a program reads and prints, or calls of a method of `Solution`."""
    public, private = _cases(raw["public_test_cases"]), _cases(raw.get("private_test_cases") or "[]")
    about: Any = raw.get("metadata") or {}
    about = json.loads(about) if isinstance(about, str) else about
    starter = str(raw.get("starter_code") or "").strip()
    name = str(about.get("func_name") or "")
    shared = {"types": "json", "preamble": COMMON, "cpu_seconds": 6} | ({"entry": f"Solution.{name}"} if name else {})
    reference = {**shared, **_tests(private or public, name)}
    if private and public:
        reference["visible"] = {**_tests(public, name), **({"entry": shared["entry"]} if name else {})}
    question = _text(raw, "question_content").strip()
    if starter:
        question += f"\n\nBegin with this:\n```python\n{starter}\n```"
    elif not name:
        question += "\n\nThe program reads standard input and prints the answer."
    question += _examples(question, public)
    tags = {k: raw[k] for k in ("difficulty", "platform", "contest_date") if k in raw}
    return {"question": question, "answer": _sound(reference), "tags": tags}


def _examples(question: str, cases: list[Mapping[str, Any]]) -> str:
    """The public tests that the statement does not show, as examples; a graded test that is called visible is shown."""
    told = {line.strip() for line in question.split("\n")}
    missing = [
        (given, want)
        for given, want in ((str(case["input"]).strip(), str(case["output"]).strip()) for case in cases)
        if not all(
            line.strip() in told or (len(line.strip()) > 1 and line.strip() in question)
            for line in f"{given}\n{want}".split("\n")
        )
    ]
    return "".join(f"\n\nExample input:\n{given}\nExample output:\n{want}" for given, want in missing)


def _tests(cases: list[Mapping[str, Any]], name: str) -> dict[str, Any]:
    if not name:
        return {"stdin": [[str(c["input"]), str(c["output"])] for c in cases]}
    rows = [[[json.loads(line) for line in str(c["input"]).split("\n") if line.strip()], c["output"]] for c in cases]
    return {"cases": [[args, json.loads(str(want))] for args, want in rows]}


def _cases(value: Any) -> list[Mapping[str, Any]]:
    """Test cases: a list, its JSON, or that JSON pickled, compressed and in base64 as the private ones are."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = json.loads(unpacked(value))
    if not isinstance(value, list):
        raise ValueError("test cases are a list of input and output")
    return cast("list[Mapping[str, Any]]", value)


class _Plain(pickle.Unpickler):
    """Reads a pickled text; anything that would import or call is an error."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise ValueError(f"the packed tests ask for {module_name}.{global_name}; only text is read")


def unpacked(text: str) -> str:
    """The JSON in packed private tests; `ValueError` in words for anything but a packed text."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text.encode(), validate=True), LARGEST)
        if inflate.unconsumed_tail:
            raise ValueError(f"the packed tests are larger than {LARGEST >> 20} MiB")
        found = _Plain(io.BytesIO(data)).load()
    except (
        zlib.error,
        binascii.Error,
        pickle.UnpicklingError,
        EOFError,
        IndexError,
        KeyError,
        AttributeError,
    ) as error:
        raise ValueError(f"the packed tests can not be read ({error})") from None
    if not isinstance(found, str):
        raise ValueError("the packed tests hold no text")
    return found


def cruxeval(raw: Raw) -> Raw:
    """A function, its arguments as text, and what it returns, as a literal."""
    code, given = _text(raw, "code").rstrip(), str(raw["input"])
    question = f"What does `f({given})` return?\n\n```python\n{code}\n```"
    return {"question": question, "answer": _text(raw, "output"), "tags": {"source": raw.get("id", "")}}


def fenced(program: str) -> str:
    """A program as an answer gives it."""
    return f"```python\n{program.strip(chr(10))}\n```"


def _sound(reference: dict[str, Any]) -> dict[str, Any]:
    spec.read(reference)
    return reference


def _text(raw: Raw, key: str) -> str:
    value = raw[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"column '{key}' should hold a text, found {str(value)[:20]!r}")
    return value


def _list(raw: Raw, key: str) -> list[Any]:
    value = raw[key]
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ValueError(f"column '{key}' should hold a list, found {str(value)[:20]!r}")
    return list(value)


MBPP = "google-research-datasets/mbpp"
PROGRAMS: Mapping[str, Design] = {
    "humaneval": Design(
        {
            "test": Source(
                "code/HumanEval.jsonl.gz", "openai/openai_humaneval", ("openai_humaneval/test/0000.parquet",),
                also=("code/HumanEval.jsonl",),
            )
        },
        human_eval, SOLVED, template=FENCED, grader="code", unique=True,
    ),
    "mbpp": Design(
        {
            "test": Source("code/mbpp.jsonl", MBPP, ("full/test/0000.parquet",), read=partial(_numbered, 11, 510)),
            "dev": Source("code/mbpp.jsonl", MBPP, ("full/validation/0000.parquet",), read=partial(_numbered, 511, 600)),
            "train": Source("code/mbpp.jsonl", MBPP, ("full/train/0000.parquet",), read=partial(_numbered, 601, 974)),
        },
        mbpp, SOLVED, template=FENCED, grader="code",
    ),
    "quixbugs": Design(
        {"test": Source("quixbugs/programs.jsonl", read=_with_cases)},
        quixbugs, SOLVED, template=FENCED, grader="code", unique=True,
    ),
    "livecodebench": Design(
        {"test": Source("livecodebench/test.jsonl", also=("livecodebench/test6.jsonl",))},
        livecodebench, template=FENCED, grader="code", unique=True,
    ),
    "cruxeval": Design(
        {"test": Source("code/cruxeval.jsonl", "cruxeval-org/cruxeval", ("default/test/0000.parquet",))},
        cruxeval, template=OUTPUT, grader="literal",
    ),
}  # fmt: skip
