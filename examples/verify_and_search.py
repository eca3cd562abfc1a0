"""Train a process and an outcome verifier for the miniature, search with them, and read what that bought.

Cells (`# %%`) as in a notebook: run them one by one in an editor, or all: python examples/verify_and_search.py
Training takes a quarter of an hour on one core with the shipped recipes; `--quick` walks through everything and learns nothing.
Every stage is a run directory under runs/search: what is finished is not done again.
"""

# %% What is planted, and how much of it we do
import sys
from pathlib import Path

from ponder import config
from ponder.evals import cli, curves_cli, replay_cli
from ponder.training import outcome, process, sft

QUICK = "--quick" in sys.argv
FOLDER = Path(sys.argv[sys.argv.index("--out") + 1]) if "--out" in sys.argv else Path("runs/search")
RECIPES = Path(__file__).parent.parent / "recipes" / "search"
SHORT = {"steps": 2, "tokens_per_step": 1024} if QUICK else {}
WATCH = {"eval_problems": 8, "eval_samples": 4} if QUICK else {}


def folder(name: str) -> str:
    return str(FOLDER / name)


# %% A policy that does not check itself: one attempt, blind moves, an answer either way
sft.run(config.load(sft.SFTConfig, RECIPES / "policy.toml", {"out": folder("policy"), **SHORT}))

# %% A process verifier: can the target still be reached after this move? The task's solver knows.
learned = process.run(
    config.load(
        process.ProcessConfig,
        RECIPES / "process.toml",
        {"out": folder("process"), "generator": folder("policy"), **SHORT, **WATCH},
    )
)
print(f"process verifier: held-out loss {learned['eval_loss']:.3f}, of a constant {learned['eval_base_loss']:.3f}")

# %% An outcome verifier on top of it: is this finished answer right?
learned = outcome.run(
    config.load(
        outcome.OutcomeConfig,
        RECIPES / "outcome.toml",
        {"out": folder("outcome"), "generator": folder("policy"), "model": folder("process"), **SHORT, **WATCH},
    )
)
print(
    f"outcome verifier: held-out loss {learned['eval_final_loss']:.3f}, of a constant {learned['eval_final_base_loss']:.3f}"
)


# %% Search held-out problems with four numbers: 64 samples each, and particles led by the process verifier
def measure(strategy: str, n: int, verifier: str, select: str) -> dict:
    found = cli.run(
        cli.EvalConfig(
            task="countdown",
            task_options=("numbers=[4]", "highest=20"),
            model=folder("policy"),
            efforts=("low",),
            max_tokens=64,
            limit=4 if QUICK else 300,
            strategy=strategy,
            n=4 if QUICK else n,
            verifier=verifier,
            select=select,
            out=folder("four"),
        )
    )
    print(f"{strategy:<10} n={n:<3} accuracy {found['accuracy']:.1%}   {found['interval']}")
    return found


both = f"{folder('process')}+{folder('outcome')}"
measure("best_of_n", 64, folder("outcome"), "best")
for particles in (8, 16, 32):
    found = measure("particle", particles, both, "weighted")

# %% What would another choice have made of the same samples? No new token is needed.
replayed = replay_cli.run(replay_cli.ReplayConfig(run=folder("four"), strategy="best_of_n"))
print(replay_cli.show(replayed))

# %% Accuracy against compute, as figures; the report has the trees, step by step
curves_cli.run(curves_cli.CurvesConfig(runs=(folder("four"),), out=folder("curves")))
print(f"figures {folder('curves')}\nreport  {found['report']}")
