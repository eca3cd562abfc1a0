"""Our verdicts against recorded ones on real completions, every disagreement listed.

    python benchmarks/regrade.py [--write]

Four systems' 5,276 solutions of GSM8K test problems (openai/grade-school-math) and 800 solutions of MATH problems
(QwenLM/Qwen2.5-Math), both with the verdict recorded by their authors, from PONDER_DATA. `--write` puts the tables
between the marks of docs/regrade.md; who is right is written there by hand.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ponder.graders import extract
from ponder.graders.extract import Rule
from ponder.graders.math import MathGrader
from ponder.types import Grade

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("PONDER_DATA", ROOT / "../shared/data"))
SYSTEMS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
GSM8K_RULE = Rule(marks=("A:", "####"))
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass(frozen=True, slots=True)
class Case:
    """One completion: where it stands, what we and they say."""

    set: str
    problem: int
    system: str
    reference: str
    recorded: bool
    grade: Grade

    @property
    def agrees(self) -> bool:
        return self.grade.correct == self.recorded


@dataclass(slots=True)
class Result:
    """All cases of one set."""

    cases: list[Case] = field(default_factory=list)

    @property
    def disagreements(self) -> list[Case]:
        return [case for case in self.cases if not case.agrees]

    @property
    def agreement(self) -> float:
        return 1 - len(self.disagreements) / len(self.cases)

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(case.grade.outcome for case in self.cases)


def gsm8k(data: Path = DATA) -> Result:
    """The four systems' solutions; both sides end in a line `A: answer`."""
    grader, result = MathGrader(rule=GSM8K_RULE), Result()
    with (data / "gsm8k/example_model_solutions.jsonl").open() as stream:
        for index, line in enumerate(stream):
            row = json.loads(line)
            reference = extract.find(row["ground_truth"], GSM8K_RULE).text or ""
            for system in SYSTEMS:
                grade = grader.check(reference, row[system]["solution"])
                result.cases.append(Case("gsm8k", index, system, reference, row[system]["is_correct"], grade))
    return result


def math(data: Path = DATA) -> Result:
    """Eight solutions of each of 100 problems; the answer is boxed."""
    grader, result = MathGrader(), Result()
    with (data / "rerank_fixture/math_cot_100.jsonl").open() as stream:
        for line in stream:
            row = json.loads(line)
            for sample, (text, recorded) in enumerate(zip(row["code"], row["score"], strict=True)):
                grade = grader.check(row["gt"], text)
                result.cases.append(Case("math", row["idx"], f"sample {sample}", row["gt"], recorded, grade))
    return result


def table(results: dict[str, Result]) -> str:
    """The generated part of docs/regrade.md."""
    lines = ["| set | completions | agreement | disagreements | correct | wrong | unparsed | timeout | error |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for name, result in results.items():
        counts = [str(result.outcomes[o]) for o in ("correct", "wrong", "unparsed", "timeout", "error")]
        share = f"{100 * result.agreement:.3f} %"
        lines.append(f"| {name} | {len(result.cases)} | {share} | {len(result.disagreements)} | {' | '.join(counts)} |")
    lines += ["", "Every disagreement:", ""]
    lines += ["| set | problem | system | extracted answer | reference | recorded | ours | our reason |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for case in (c for r in results.values() for c in r.disagreements):
        answer = case.grade.parts.get("answer") or "(none)"
        cells = [case.set, case.problem, case.system, f"`{answer}`", f"`{case.reference}`"]
        cells += [
            "correct" if case.recorded else "wrong",
            case.grade.outcome,
            case.grade.reason or case.grade.parts.get("method", ""),
        ]
        lines.append("| " + " | ".join(str(c) for c in cells) + " |")
    lines += ["", "Every completion without a readable answer (all of them recorded as wrong unless listed above):", ""]
    lines += ["| set | problem | system | reason |", "|---|---|---|---|"]
    for case in (c for r in results.values() for c in r.cases if c.grade.outcome not in ("correct", "wrong")):
        lines.append(f"| {case.set} | {case.problem} | {case.system} | {case.grade.reason} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/regrade.md")
    arguments = parser.parse_args()
    text = table({"gsm8k": gsm8k(), "math": math()})
    print(text)
    if arguments.write:
        page = ROOT / "docs/regrade.md"
        head, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
