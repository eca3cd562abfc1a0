"""Programs in C++ judged by the code grader in real cells: right, wrong, broken and cheating ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import ConfigError
from ponder.graders import grade, make
from ponder.sandbox import Sandbox
from ponder.sandbox import box as box_module
from ponder.sandbox.box import held
from ponder.tasks.programs import livecodebench
from ponder.types import Grade

pytestmark = pytest.mark.slow
SUM = {
    "language": "cpp",
    "stdin": [["10 5\n", "15\n"], ["-4 4\n", "0\n"]],
    "visible": {"stdin": [["1 2\n", "3\n"]]},
    "cpu_seconds": 0.5,
}
HEAD = "#include <cstdio>\n#include <cstdlib>\n#include <fstream>\n#include <iostream>\n#include <unistd.h>\n"
PROGRAMS = {
    "right": ("int main(){long a,b;std::cin>>a>>b;std::cout<<a+b<<'\\n';}", "correct", ""),
    "wrong": ("int main(){long a,b;std::cin>>a>>b;std::cout<<a-b;}", "wrong", "ok"),
    "the visible answer": ("int main(){puts(\"3\");}", "wrong", "ok"),
    "crashes": ("int main(){volatile int *p=nullptr;return *p;}", "wrong", "exited"),
    "returns 1 after the right answer": ("int main(){long a,b;std::cin>>a>>b;std::cout<<a+b;return 1;}", "wrong", "exited"),
    "hangs": ("int main(){for(volatile int i=0;;i=0);}", "timeout", "timeout"),
    "does not compile": ("int main(){return x}", "wrong", "compile"),
    "no main": ("int f(){return 1;}", "wrong", "compile"),
    "writes to other descriptors": (
        "int main(){for(int n=2;n<64;n++)(void)!write(n,\"15\\n\",3);puts(\"6 passed\");_exit(0);}", "wrong", "ok",
    ),
    "reads /proc": (
        "int main(){std::ifstream f(\"/proc/self/cmdline\");std::string s=\"0\";f>>s;puts(s.c_str());"
        "std::ifstream g(\"/proc/1/environ\");if(f||g)puts(\"15\");}", "wrong", "ok",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def box() -> Any:
    if why := held("L3"):
        pytest.skip(f"level L3 does not hold here: {why}")
    with Sandbox("L3") as sandbox:
        yield sandbox


def check(body: str, box: Sandbox, reference: Any = SUM, **options: Any) -> Grade:
    return grade("code", completion=f"```cpp\n{HEAD}{body}\n```", reference=reference, sandbox=box, **options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_in_cpp(box: Sandbox, name: str) -> None:
    body, outcome, status = PROGRAMS[name]
    found = check(body, box)
    assert (found.outcome, found.score) == (outcome, float(outcome == "correct")), found
    assert found.parts["level"] == "L3"
    assert (found.parts["first"] or {"status": ""})["status"] == status


def test_one_language_beside_another_in_one_batch(box: Sandbox) -> None:
    python = {"stdin": [["1 2\n", "3\n"]]}
    pairs = [(SUM, f"```cpp\n{HEAD}{PROGRAMS['right'][0]}\n```"), (python, "print(sum(map(int, input().split())))")]
    made = make("code", sandbox=box)
    assert [g.outcome for g in made.check_many(pairs * 2)] == ["correct"] * 4
    shared = make("code").check_many(pairs)
    assert [g.outcome for g in shared] == ["correct"] * 2
    assert shared[0].parts["level"] == "L3" and shared[1].parts["level"] in ("L1", "L2")


def test_a_problem_in_the_form_of_live_code_bench(box: Sandbox) -> None:
    tests = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}, {"input": "5 5\n", "output": "10\n"}]
    raw = {
        "question_content": "Add.",
        "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": json.dumps(tests),
    }
    reference = livecodebench(raw)["answer"]
    assert check(PROGRAMS["right"][0], box, reference, language="cpp").correct
    assert check(PROGRAMS["wrong"][0], box, reference, language="cpp").outcome == "wrong"


def test_no_cells_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(box_module._held, ("L3", None), "namespaces: not permitted")
    monkeypatch.setattr("ponder.sandbox.shared._boxes", {})
    with pytest.raises(ConfigError, match="sandbox level L3 does not hold here: namespaces: not permitted"):
        grade("code", completion="int main(){}", reference=SUM)
