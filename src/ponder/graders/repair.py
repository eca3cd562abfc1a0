"""A repair: edits of a program's files, graded by the strict `code` grader on the program they make.

The reference is that of `code` with one entry more, `files`: the buggy program, name to text, the first of them the one that
is run; it may import the others by name. `program` makes one text of several files: a small finder in front serves the others
from memory, so that nothing needs a disk and the sandbox's levels stay what they are. The names are known and the texts stand
in it as literals, so no text can be more than text. A completion without edits, or with edits that can not be made, is
`unparsed`, with the reason. Not covered: packages of packages, files that are not Python, tests in files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ponder.graders import edits, extract
from ponder.graders.code import CodeGrader
from ponder.graders.edits import EditError
from ponder.types import Completion, Grade, Problem

FENCE = "```"
_FINDER = """\
_ponder_files = {files}

def _ponder_serve():
    import importlib.abc, importlib.machinery, sys

    class Loader(importlib.abc.Loader):
        def exec_module(self, module):
            name = module.__name__ + ".py"
            exec(compile(_ponder_files[name], name, "exec", dont_inherit=True), module.__dict__)

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            known = name + ".py" in _ponder_files
            return importlib.machinery.ModuleSpec(name, Loader()) if known else None

    sys.meta_path.insert(0, Finder())

_ponder_serve()
exec(compile(_ponder_files[{main}], {main}, "exec", dont_inherit=True), globals())
"""


def files_of(reference: object) -> dict[str, str] | None:
    """The buggy files a reference holds, None where it holds none; `ValueError` in words for what can not be used."""
    given = cast("Mapping[str, object]", reference).get("files") if isinstance(reference, Mapping) else None
    if given is None:
        return None
    if not isinstance(given, Mapping) or not given:
        raise ValueError("'files' is a mapping of names to texts")
    files: dict[str, str] = {}
    for name, text in cast("Mapping[object, object]", given).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ValueError("'files' is a mapping of names to texts")
        if not name.removesuffix(".py").isidentifier() or not name.endswith(".py"):
            raise ValueError(f"'files': {name[:40]!r} is not the name of a module, such as parser.py")
        files[name] = text
    return files


def without_files(reference: object) -> dict[str, Any]:
    """The reference as the `code` grader takes it."""
    given = cast("Mapping[str, Any]", reference if isinstance(reference, Mapping) else {})
    return {key: value for key, value in given.items() if key != "files"}


def program(files: Mapping[str, str], entry: str = "") -> str:
    """The files as one program. A single file stays as it is, so that the lines an error names are its own."""
    main = next(iter(files))
    if len(files) == 1 and not any(line.strip().startswith(FENCE) for line in files[main].split("\n")):
        return files[main]
    text = _FINDER.format(files=repr(dict(files)), main=repr(main))
    first = entry.partition(".")[0]
    return text + (f'{first} = globals()["{first}"]\n' if first else "")


def completion_of(files: Mapping[str, str], entry: str = "") -> Completion:
    """The files as a completion the `code` grader reads, whatever stands in them."""
    text = f"{FENCE}python\n{program(files, entry)}\n{FENCE}"
    return Completion((), (), "stop", text=text, answer=text)


@dataclass(frozen=True, slots=True)
class RepairGrader:
    """A completion's edits make the buggy program of the reference pass all tests. `code` judges the program."""

    code: CodeGrader = field(default_factory=CodeGrader)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        return self.check_many([(reference, completion)])[0]

    def check_many(self, pairs: Sequence[tuple[object, str | Completion]]) -> list[Grade]:
        """The grades of many completions in one go, in their order."""
        read = [_edited(reference, completion) for reference, completion in pairs]
        whole = [
            (without_files(reference), completion_of(files, str(without_files(reference).get("entry", ""))))
            for (reference, _), files in zip(pairs, read, strict=True)
            if not isinstance(files, Grade)
        ]
        judged = iter(self.code.check_many(whole))
        return [found if isinstance(found, Grade) else next(judged) for found in read]


def _edited(reference: object, completion: str | Completion) -> dict[str, str] | Grade:
    try:
        files = files_of(reference)
    except ValueError as error:
        return Grade(None, "error", reason=f"the reference can not be used: {error}")
    if files is None:
        return Grade(None, "error", reason="the reference has no files to repair")
    answer = extract.parts(completion)[1]
    if answer is None:
        return Grade(0.0, "unparsed", reason="no edits after the thinking")
    try:
        found = edits.read(answer, list(files))
        return edits.apply(files, found) if found else Grade(0.0, "unparsed", reason="the answer holds no edits")
    except EditError as error:
        return Grade(0.0, "unparsed", reason=str(error))
