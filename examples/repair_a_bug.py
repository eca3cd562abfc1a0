"""A model that repairs a program in two turns, and one that only seems to: it hard-codes the visible tests.

The models are scripts, so this runs anywhere; `ponder.load("…")` in the place of a script makes it a real one.
"""

from __future__ import annotations

from ponder.engines.scripted import ScriptedEngine
from ponder.evals.repair_loop import Loop, Try, begin
from ponder.graders.edits import diff
from ponder.tasks.repairs import instance_of, question
from ponder.types import Problem, Sampling

FILES = {"temperature.py": "def celsius(f):\n    return (f - 32) * 9 / 5\n"}
TESTS = {
    "entry": "celsius",
    "asserts": ["assert celsius(-40) == -40", "assert celsius(50) == 10"],
    "visible": {"asserts": ["assert celsius(212) == 100", "assert celsius(32) == 0"]},
}
ASKED = question("celsius(f) turns degrees Fahrenheit into degrees Celsius.", FILES, TESTS)
PROBLEM = Problem(ASKED, {**TESTS, "files": FILES})


def edit(old: str, new: str) -> str:
    return f"temperature.py\n<<<<<<< SEARCH\n    return {old}\n=======\n    return {new}\n>>>>>>> REPLACE"


MODELS = {
    "learns from the failure": [edit("(f - 32) * 9 / 5", "f - 32 * 5 / 9"), edit("f - 32 * 5 / 9", "(f - 32) * 5 / 9")],
    "hard-codes what it sees": [edit("(f - 32) * 9 / 5", "{212: 100, 32: 0}.get(f)")],
}


def main() -> None:
    for name, lines in MODELS.items():
        engine = ScriptedEngine(lambda text, seed, lines=lines: lines[text.count("<|assistant|>") - 1])
        over: list[Try] = []
        Loop(engine, Sampling(max_tokens=1000)).run([begin(instance_of(PROBLEM), 0, 0)], over.extend)
        (one,) = over
        assert one.grade is not None
        print(f"A model that {name}")
        for number, turn in enumerate(one.turns, 1):
            print(f"  turn {number}: {turn.passed} of {turn.total} visible tests pass")
        print(f"  ended: {one.ended}; all tests: {one.grade.outcome} {one.grade.reason}".rstrip())
        print("".join(f"    {line}" for line in diff(FILES, one.files).splitlines(keepends=True)))


if __name__ == "__main__":
    main()
