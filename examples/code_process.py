"""What a process verifier for programs learned: steps, first faults and whole programs, beside guessing by position.

    ponder label synthesis --how mutation --reader runs/code/sft --effort low --mutants 6 --problems 650 --out LABELS
    the same with --split dev --problems 150 --out HELD-OUT (LABELS: runs/code/labels.jsonl, HELD-OUT: runs/code/held-out.jsonl)
    ponder train process recipes/code/process.toml
    python examples/code_process.py [VERIFIER [LABELS [HELD-OUT]]]

Held-out problems are of the dev split, so no program of theirs was trained on. A verifier reads a program only up to the step it
scores; the guess by position and length knows how many steps will come, and so knows more than it should. `likelihood` is what
the policy itself thinks of the program so far, where the labels have that (`--reader`).
"""

import sys

from ponder import verifiers
from ponder.evals import step_report
from ponder.verifiers import samples

GIVEN = dict(enumerate(sys.argv[1:]))
VERIFIER = GIVEN.get(0, "runs/code/process")
TRAIN = list(samples.read(GIVEN.get(1, "runs/code/labels.jsonl")))
HELD_OUT = list(samples.read(GIVEN.get(2, "runs/code/held-out.jsonl")))

rows = {
    "position": [step_report.position(TRAIN)(sample) for sample in HELD_OUT],
    "position and length": [step_report.position_and_length(TRAIN)(sample) for sample in HELD_OUT],
    **({"likelihood": [step_report.likelihood(s) for s in HELD_OUT]} if all(s.logprobs for s in HELD_OUT) else {}),
    "verifier": step_report.verifier_scores(verifiers.load(VERIFIER), HELD_OUT),
}
print(
    f"{len(HELD_OUT)} programs of {len({s.problem for s in HELD_OUT})} held-out problems; 95 % intervals over problems"
)
HEADS = ("AUC of steps", "AUC of programs", "of one problem's", "first fault named", "sound ones passed")
print(f"{'scores by':<20} " + " ".join(f"{head:<22}" for head in HEADS))
for name, scores in rows.items():
    found = step_report.report(name, scores, HELD_OUT)
    values = (found.steps, found.whole, found.beside, found.first.error, found.first.correct)
    print(f"{name:<20} " + " ".join(f"{f'{v.mean:.3f} ({v.low:.3f} to {v.high:.3f})':<22}" for v in values))
