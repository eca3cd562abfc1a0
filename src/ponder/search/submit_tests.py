"""The inputs of one problem: from programs that print them, checked by programs that read them, or by changing the visible ones.

    generators   programs, given or written by a model, that read a seed and print an input; also inputs a model wrote out
    validators   programs, given or written by a model, that read an input and print valid or invalid
    neither      the visible inputs changed (`submit_mutate`)

A validator is heard only when it says yes to every visible input and no to `NONSENSE`: one that crashes, always agrees or always
refuses has no vote. Without a validator left the candidates themselves vote: an input on which less than half of them run to
an end is taken for invalid. So a generator that prints nonsense costs its time and nothing else. Visible inputs are not among
those returned: every candidate that was kept does the same on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ponder.graders.programs import program_of
from ponder.search import submit_inputs
from ponder.search.submit_form import Form, arguments
from ponder.search.submit_inputs import SHARE, Input, Run, Runner, distinct
from ponder.search.submit_mutate import mutants

NONSENSE = ("\n", "?? no input ??\n")
NO_ARGUMENTS = "[]"
CROWD = 0.5
MOST_VOTERS = 40
MOST_TEXT = 4 << 20

Source = Literal["generators", "mutation", "none"]
Ask = Literal["generator", "inputs", "validator"]

STYLES = (
    "small, so that it can be checked by hand",
    "with values at the very edges of what the statement allows, the smallest and the degenerate ones among them",
    "as large as the statement allows",
    "made so that a program with a subtle mistake prints something else than a right one",
)
_GENERATOR = (
    "{question}\n\nDo not solve this problem. Write a Python program that reads one whole number, a seed, from standard "
    "input and prints one valid input of the problem, random but decided by the seed alone: {style}.{shape} "
    "Give the whole program in one ```python block."
)
_VALIDATOR = (
    "{question}\n\nDo not solve this problem. Write a Python program that reads an input of the problem from standard input, and "
    "prints valid if it meets everything the statement demands of an input, and invalid otherwise.{shape} "
    "Give the whole program in one ```python block."
)
_INPUTS = (
    "{question}\n\nDo not solve this problem. Write ten valid inputs of the problem that a program with a subtle mistake is "
    "likely to answer wrongly, each in a code block of its own (```), with nothing else in the block.{shape}"
)
_SHAPE = " An input is the list of the arguments of the function on one line, as Python writes it, such as {example}"


def prompt(ask: Ask, question: str, form: Form, number: int = 0) -> str:
    """What a model is asked for; generators take turns over `STYLES`."""
    shape = _SHAPE.format(example=form.seeds[0] if form.seeds else "[[3, 1], 'ab']") if form.entry else ""
    text = {"generator": _GENERATOR, "validator": _VALIDATOR, "inputs": _INPUTS}[ask]
    return text.format(question=question, shape=shape, style=STYLES[number % len(STYLES)])


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many inputs, by which programs, and how many of the validators must agree."""

    count: int = 40
    generators: tuple[str, ...] = ()
    validators: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    share: float = SHARE
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The accepted inputs, where they came from, how many there were before validation and how many validators were heard."""

    inputs: tuple[Input, ...]
    source: Source
    proposed: int = 0
    heard: int = 0
    validators: int = 0
    judge: Literal["validators", "candidates", "nobody"] = "nobody"


def from_replies(replies: Sequence[tuple[Ask, str]], wanted: Wanted) -> Wanted:
    """`wanted` with what a model answered: programs, and inputs that are written out."""
    programs: dict[Ask, list[str]] = {"generator": [], "validator": [], "inputs": []}
    for ask, reply in replies:
        programs[ask] += [reply] if ask == "inputs" else [text] if (text := program_of(reply)) else []
    return Wanted(
        wanted.count,
        (*wanted.generators, *programs["generator"]),
        (*wanted.validators, *programs["validator"]),
        (*wanted.written, *programs["inputs"]),
        wanted.share,
        wanted.seed,
    )


def inputs_for(form: Form, wanted: Wanted, printed: Runner, called: Runner, candidates: Sequence[str]) -> Found:
    """The inputs of a problem. `printed` runs generators and validators, `called` the candidates (their codes)."""
    voters = heard(printed, wanted.validators, form.seeds)
    judge: Literal["validators", "candidates"] = "validators" if voters else "candidates"

    def judged(inputs: Sequence[Input]) -> list[Input]:
        if voters:
            return submit_inputs.accepted_by_programs(printed, inputs, voters, wanted.share)
        return crowd(called, inputs, candidates)

    def found(kept: Sequence[Input], source: Source, count: int) -> Found:
        return Found(tuple(within(kept[: wanted.count])), source, count, len(voters), len(wanted.validators), judge)

    proposed = _fit(form, _proposed(wanted, printed))
    kept = judged(proposed)
    if kept:
        return found(kept, "generators", len(proposed))
    changed = mutants(form.seeds, 2 * wanted.count, wanted.seed, calls=bool(form.entry))
    if form.entry and not form.seeds:
        changed = distinct([NO_ARGUMENTS], 1)  # where nothing is known of the arguments, there may be none
    if not changed:
        return Found((), "none", len(proposed), len(voters), len(wanted.validators))
    kept = judged(changed)
    return found(kept, "mutation" if kept else "none", len(changed))


def _proposed(wanted: Wanted, printed: Runner) -> list[Input]:
    texts = [one.text for reply in wanted.written for one in submit_inputs.fenced(reply)]
    if wanted.generators:
        count = 2 * wanted.count if wanted.validators else wanted.count
        texts += [one.text for one in submit_inputs.written(printed, wanted.generators, count, wanted.seed)]
    return distinct(texts, 4 * wanted.count)


def _fit(form: Form, inputs: Sequence[Input]) -> list[Input]:
    """Those that can be an input at all, and are none of the visible ones."""
    shown = {bare(seed) for seed in form.seeds}
    arity = {len(given[0]) for seed in form.seeds if (given := arguments(seed)) is not None}
    found: list[Input] = []
    for one in inputs:
        given = arguments(one.text) if form.entry else None
        if bare(one.text) in shown or (form.entry and given is None):
            continue
        if given is None or not arity or len(given[0]) in arity:
            found.append(one)
    return found


def within(inputs: Sequence[Input], characters: int = MOST_TEXT) -> list[Input]:
    """As many of the inputs as have room together, in their order; the larger ones are passed over."""
    found: list[Input] = []
    for one in inputs:
        if len(one.text) <= characters:
            characters -= len(one.text)
            found.append(one)
    return found


def bare(text: str) -> str:
    """An input without blanks at its ends: what makes two of them the same."""
    return text.strip()


def heard(printed: Runner, validators: Sequence[str], valid: Sequence[str]) -> list[str]:
    """The validators that call every known input valid and no nonsense so."""
    trials = [(text, True) for text in valid] + [(text, False) for text in NONSENSE]
    outputs = iter(printed([Run(code, text) for code in validators for text, _ in trials]) if validators else ())
    found: list[str] = []
    for code in validators:
        verdicts = [submit_inputs.verdict(next(outputs)) for _ in trials]
        if all(said is want for said, (_, want) in zip(verdicts, trials, strict=True)):
            found.append(code)
    return found


def crowd(called: Runner, inputs: Sequence[Input], candidates: Sequence[str], share: float = CROWD) -> list[Input]:
    """The inputs on which enough of the candidates (of the first `MOST_VOTERS`) run to an end; all without candidates."""
    voters = list(dict.fromkeys(candidates))[:MOST_VOTERS]
    if not voters:
        return list(inputs)
    outputs = list(called([Run(code, one.text) for one in inputs for code in voters]))
    votes = [None if o.status == "infra" else o.status == "ok" for o in outputs]
    width = len(voters)
    return [one for i, one in enumerate(inputs) if submit_inputs.agreed(votes[i * width : (i + 1) * width], share)]
