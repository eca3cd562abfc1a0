"""`ponder eval TASK --strategy NAME`: search every problem, keep every tree, say what it earned and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ponder import config as configs
from ponder.evals import eval_report, measure, ungraded
from ponder.evals.attempts import FILE, AttemptStore
from ponder.evals.report import percent
from ponder.evals.searched import SEARCHES, finished_of
from ponder.evals.searching import Search, plan_search, run_search, verifier_identity
from ponder.evals.settings import FINISHED, GROWS, EvalConfig, resolved, settings_of, slug
from ponder.evals.trees import FILE as TREES
from ponder.evals.trees import TreeStore
from ponder.progress import Progress
from ponder.runs import Run
from ponder.types import Engine, Verifier


def run(config: EvalConfig) -> dict[str, Any]:
    """Search a task's problems; returns accuracy with its interval, what it cost, and where the report is."""
    planned(config)  # what is wrong with the settings is said before a model is loaded
    measure.prepare(settings_of(config), config.seed)
    engine = measure.open_engine(config.model, config.device, config.rows)
    verifier = open_verifier(config.verifier) if config.verifier else None
    search = planned(config, "" if verifier is None else verifier_identity(config.verifier))
    config = resolved(config, engine.path)
    folder = config.out or f"runs/eval-{slug(config.task)}-{slug(config.model)}"
    with Run.open(folder, "eval", configs.to_dict(config), config.resume, GROWS) as opened:
        regraded = _complete(opened, config, engine, verifier, search)
        found = eval_report.write(opened.path)
    blocks = [b for b in found["searches"]["strategies"] if b["strategy"] == search.key]
    block = next((b for b in blocks if b["effort"] == config.headline), blocks[0])
    efforts = {b["effort"]: {name: b[name] for name in ("accuracy", "interval", "each")} for b in blocks}
    return {**block, "effort_table": efforts, "regraded": regraded, "out": folder, "report": f"{folder}/report.html"}


def planned(config: EvalConfig, identity: str = "") -> Search:
    """The search of an `EvalConfig`; `identity` names the verifier with its weights."""
    return plan_search(
        config.strategy, config.n, config.options, config.select, config.budget, identity or config.verifier
    )


def open_verifier(spec: str) -> Verifier:
    """The verifier called `spec`."""
    from ponder import verifiers

    return verifiers.load(spec)


def _complete(opened: Run, config: EvalConfig, engine: Engine, verifier: Verifier | None, search: Search) -> int:
    part = measure.prepare(settings_of(config), config.seed)
    model = measure.weights_identity(engine.name, engine.path)
    store, trees = AttemptStore(opened.path / FILE), TreeStore(opened.path / TREES)
    with Progress() as progress:
        bar = progress.bar(f"{search.name} on {part.task.name}", part.sampled.total)
        run_search(
            engine, verifier, part.task, part.sampled, search, store, trees, model=model, bar=bar, log=opened.log
        )
    regraded = 0
    if config.regrade:
        regraded = store.regrade(part.problems, part.task.grader)
        trees.regrade(part.problems, part.task.grader)
    told = finished_of(opened.path, model)
    told.setdefault(SEARCHES, {})[search.key] = configs.to_dict(config)
    opened.write_json(FINISHED, told)
    return regraded


def show(result: Mapping[str, Any]) -> str:
    """A search's result for people."""
    low, high = result["interval"]
    each, times = result["each"], result["overhead"]
    tries = "" if result["attempts"] == 1 else f", {result['attempts']} searches each"
    options = " ".join(f"{name}={value}" for name, value in result["apart"].items())
    lines = [
        f"{result['name']} {options} select={result['select']}".replace("  ", " "),
        f"accuracy {percent(result['accuracy'])}   95 % interval {percent(low)} to {percent(high)}   "
        f"{result['problems']} problems{tries}",
        f"branches {result['branches']:.1f} each, {percent(result['pass_at_1'])} of them right; "
        f"any right {percent(result['coverage']['mean'])}",
    ]
    others = {name: row for name, row in result["selections"].items() if name != result["select"]}
    if others and result["branches"] > 1:
        lines.append("instead  " + ", ".join(f"{name} {percent(row['mean'])}" for name, row in others.items()))
    if told := ungraded.sentence(result):
        lines.append(f"ungraded {told}; the same line tries them again")
    if len(result["effort_table"]) > 1:
        lines += [f"effort {level:<7} {percent(row['accuracy'])}" for level, row in result["effort_table"].items()]
    lines.append(
        f"spent    {each['decoded']:,.0f} tokens decoded, {each['prefilled']:,.0f} prefilled, "
        f"{each['verified']:,.0f} verified, {each['seconds']:.2f} s a search"
    )
    if result["ended"].get("budget"):
        lines.append(f"budget   ended {result['ended']['budget']} of {sum(result['ended'].values())} searches")
    if result["alarm"] is not None and result["alarm"]["alarm"]:
        lines.append("alarm    more branches raise the score and not the accuracy: the verifier is being gamed")
    if times["seconds"]:
        lines.append(f"overhead {100 * times['share']:.1f} % of {times['seconds']:.1f} s outside engine and verifier")
    return "\n".join([*lines, f"report   {result['report']}"])
