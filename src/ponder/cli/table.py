"""Every command in one visible table: what it does, what runs it, which settings it takes. Nothing is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One row. `run` takes one `config` struct and returns a JSON-able dict; both are `"module:name"`, imported late.

    `words` are the settings filled by bare words, in order; one in brackets may be left out. `recipe` says the bare
    word is a TOML file of settings. `show` turns the result into text for people. `resumes`: the same line goes on.
    """

    help: str
    run: str
    config: str
    words: tuple[str, ...] = ()
    recipe: bool = False
    show: str = ""
    resumes: bool = False


COMMANDS: dict[str, Command] = {
    "quickstart": Command(
        help="the whole recipe in miniature: cold start, GRPO, evaluation, report",
        run="ponder.evals.quickstart:run",
        config="ponder.evals.quickstart:QuickstartConfig",
        show="ponder.evals.quickstart:show",
        resumes=True,
    ),
    "solve": Command(
        help="answer one problem, thinking in the open",
        run="ponder.cli.solve:run",
        config="ponder.cli.solve:SolveConfig",
        words=("text",),
        show="ponder.cli.solve:show",
    ),
    "eval": Command(
        help="measure a model on a task, with intervals",
        run="ponder.evals.cli:run",
        config="ponder.evals.cli:EvalConfig",
        words=("task",),
        show="ponder.evals.cli:show",
        resumes=True,
    ),
    "repair": Command(
        help="let a model repair buggy programs: edit, run the visible tests, hear what fails, edit again",
        run="ponder.evals.repair:run",
        config="ponder.evals.repair:RepairConfig",
        words=("task",),
        show="ponder.evals.repair:show",
        resumes=True,
    ),
    "calibrate": Command(
        help="measure what each effort level should stand for on a task, and write the model's table",
        run="ponder.evals.calibrate:run",
        config="ponder.evals.calibrate:CalibrateConfig",
        words=("task",),
        show="ponder.evals.calibrate:show",
        resumes=True,
    ),
    "compare": Command(
        help="two runs or more on the problems they share: difference, interval, p-value, power",
        run="ponder.evals.compare:run",
        config="ponder.evals.compare:CompareConfig",
        words=("runs",),
        show="ponder.evals.compare:show",
    ),
    "report": Command(
        help="write the report of a quickstart or evaluation again from its files",
        run="ponder.evals.cli:render",
        config="ponder.evals.cli:ReportConfig",
        words=("run",),
        show="ponder.evals.cli:show_report",
    ),
    "replay": Command(
        help="another selection, verifier or number of branches, from stored searches",
        run="ponder.evals.replay_cli:run",
        config="ponder.evals.replay_cli:ReplayConfig",
        words=("run",),
        show="ponder.evals.replay_cli:show",
    ),
    "curves": Command(
        help="accuracy against compute, from the stored searches of evaluations",
        run="ponder.evals.curves_cli:run",
        config="ponder.evals.curves_cli:CurvesConfig",
        words=("runs",),
        show="ponder.evals.curves_cli:show",
    ),
    "grade": Command(
        help="grade the completions of a file, whatever wrote them",
        run="ponder.cli.grade:run",
        config="ponder.cli.grade:GradeConfig",
        words=("file",),
        show="ponder.cli.grade:show",
        resumes=True,
    ),
    "label": Command(
        help="label the steps of solutions, or convert a public file of step labels",
        run="ponder.cli.label:run",
        config="ponder.cli.label:LabelConfig",
        words=("[task]",),
        show="ponder.cli.label:show",
        resumes=True,
    ),
    "submit": Command(
        help="sample many programs for each problem, choose at most 50 to submit, and say what they earn",
        run="ponder.evals.submission:run",
        config="ponder.evals.submission_settings:SubmitConfig",
        words=("[task]",),
        show="ponder.evals.submission:show",
        resumes=True,
    ),
    "train pretrain": Command(
        help="teach a new model from generated text",
        run="ponder.evals.lines:pretrain",
        config="ponder.training.pretrain:PretrainConfig",
        recipe=True,
        resumes=True,
    ),
    "train sft": Command(
        help="imitate demonstrations; the loss is on completions alone",
        run="ponder.training.sft:run",
        config="ponder.training.sft:SFTConfig",
        recipe=True,
        resumes=True,
    ),
    "train outcome": Command(
        help="teach a model to tell right answers from wrong ones (a score per token)",
        run="ponder.training.outcome:run",
        config="ponder.training.outcome:OutcomeConfig",
        recipe=True,
        resumes=True,
    ),
    "train process": Command(
        help="teach a model to tell right steps from wrong ones (a score per step)",
        run="ponder.training.process:run",
        config="ponder.training.process:ProcessConfig",
        recipe=True,
        resumes=True,
    ),
    "train grpo": Command(
        help="reinforce what a grader calls right (GRPO and its relatives)",
        run="ponder.training.grpo:run",
        config="ponder.training.grpo:GRPOConfig",
        recipe=True,
        resumes=True,
    ),
    "sandbox serve": Command(
        help="offer this machine's sandboxes to others: a pool that runs untrusted code for whoever holds the token",
        run="ponder.cli.sandbox:serve",
        config="ponder.cli.sandbox:ServeConfig",
        show="ponder.cli.sandbox:show_serve",
    ),
    "sandbox run": Command(
        help="run one untrusted program in the sandbox, and show what it printed and how it ended",
        run="ponder.cli.sandbox:run",
        config="ponder.cli.sandbox:RunConfig",
        words=("file",),
        show="ponder.cli.sandbox:show_run",
    ),
    "doctor": Command(
        help="is this machine ready, and do sampler and trainer agree?",
        run="ponder.cli.doctor:run",
        config="ponder.cli.doctor:DoctorConfig",
        show="ponder.cli.doctor:show",
    ),
}

GROUPS: dict[str, str] = {
    "train": "train a model: pretrain, sft, outcome, process, grpo",
    "sandbox": "run untrusted code: one program (run), or for other machines (serve)",
}

COMMON = "Every command also takes --json (one object on standard output), --quiet, and --debug (full tracebacks)."
EXIT = "Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 130 interrupted with everything so far saved."


def overview(version: str) -> str:
    """The text of `ponder --help`."""
    rows = {name: command.help for name, command in COMMANDS.items() if " " not in name}
    rows |= {group: text for group, text in GROUPS.items() if members(group)}
    lines = [f"ponder {version}: make a language model reason, and measure what the reasoning is worth", ""]
    lines += ["usage: ponder COMMAND [WORDS] [--setting VALUE ...]", ""]
    lines += [f"  {name:<12} {text}" for name, text in rows.items()]
    lines += ["", "ponder COMMAND --help lists a command's settings.", COMMON, EXIT]
    return "\n".join(lines)


def group_overview(group: str) -> str:
    """The text of `ponder train --help`."""
    found = members(group)
    words = "[RECIPE.toml] " if any(command.recipe for command in found.values()) else "[WORDS] "
    lines = [f"usage: ponder {group} KIND {words}[--setting VALUE ...]", ""]
    lines += [f"  {name.split()[1]:<12} {command.help}" for name, command in found.items()]
    return "\n".join([*lines, "", f"ponder {group} KIND --help lists its settings.", COMMON])


def members(group: str) -> dict[str, Command]:
    """The commands `group KIND`."""
    return {name: command for name, command in COMMANDS.items() if name.startswith(f"{group} ")}
