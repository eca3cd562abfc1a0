"""What there is to repair: the files of a buggy program, what is said about it, and the tests that are shown.

A problem is an instance when its reference has `files` (see `ponder.graders.repair`), or when its task shows the buggy program
in the question, as `quixbugs` does. The question gives the files, the visible tests as a file that can not be edited, and how
to answer; hidden tests are never part of it. Not covered: repositories, tests in files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ponder.errors import DataError
from ponder.graders import spec
from ponder.graders.edits import FORMAT
from ponder.graders.programs import program_of
from ponder.graders.repair import files_of, without_files
from ponder.graders.spec import Tests
from ponder.types import Message, Problem

TESTS = "tests.py"
SHOWN = {"quixbugs": "One line of this program is wrong."}
LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem with its buggy `files` (the first is the one that is run), the conversation that opens the repair, and the
    reference of the `code` grader."""

    problem: Problem
    files: Mapping[str, str]
    messages: tuple[Message, ...]
    reference: Mapping[str, Any]

    @property
    def entry(self) -> str:
        """The name the tests call."""
        return str(self.reference.get("entry", ""))

    @property
    def has_visible(self) -> bool:
        """Are there visible tests?"""
        return bool(self.reference.get("visible"))


def instance_of(problem: Problem) -> Instance:
    """The instance of a problem; `DataError` for one that has no program to repair."""
    try:
        files = files_of(problem.reference)
    except ValueError as error:
        raise DataError(f"problem {problem.id}: {error}") from None
    reference = without_files(problem.reference)
    if files is not None:
        return Instance(problem, files, problem.messages, reference)
    text = program_of(problem.text) if problem.task in SHOWN else None
    if text is None:
        raise DataError(
            f"task '{problem.task}' has no buggy programs to repair; 'bugs' and 'quixbugs' have, and rows of a file whose"
            " reference has 'files'"
        )
    shown = {f"{problem.tags.get('name', 'program')}.py": text.strip("\n") + "\n"}
    return Instance(problem, shown, question(SHOWN[problem.task], shown, reference), reference)


def question(says: str, files: Mapping[str, str], reference: Mapping[str, Any]) -> tuple[Message, ...]:
    """The conversation that opens a repair."""
    parts = [says.strip()]
    parts += [f"{name}\n```python\n{text.strip(chr(10))}\n```" for name, text in files.items()]
    tests = visible_tests(reference)
    if tests:
        said = f"These tests must pass, and others too. They are in {TESTS}, which can not be edited."
        parts.append(f"{said}\n```python\n{tests}\n```")
    return (Message("user", "\n\n".join([*parts, FORMAT])),)


def visible_tests(reference: Mapping[str, Any]) -> str:
    """The visible tests as text, cut where they are long; empty where there are none."""
    visible = spec.read(reference).visible
    text = "" if visible is None else visible.text or "\n".join(_lines(visible))
    return text if len(text) <= LONGEST else text[: text.rfind("\n", 0, LONGEST) + 1] + "..."


def _lines(tests: Tests) -> list[str]:
    calls: list[str] = []
    for case in tests.cases:
        words = [repr(a) for a in case.args] + [f"{k}={v!r}" for k, v in case.kwargs.items()]
        calls.append(f"assert {case.entry}({', '.join(words)}) == {case.want!r}")
    return calls + [f"# for the input {given!r} it prints {printed!r}" for given, printed in tests.outputs]
