"""What goes wrong outside: settings, data, checkpoints, directories, disks, signals, hostile answers.

Each case is one clear line on standard error with exit code 2 (the input) or 1 (the work), or the right outcome; after
every interruption the same line continues and ends where an undisturbed run ends, to the bit.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ponder
from ponder import cli
from ponder.runs import Run

TINY = shlex.split(
    "--shape.width 16 --shape.layers 1 --shape.heads 2 --shape.kv-heads 1 --shape.hidden 32 --shape.context 192 "
    "--tokens-per-step 256 --row-tokens 128 --threads 1 --no-worker --eval-every 0"
)
PONDER = [sys.executable, "-c", "import sys; from ponder.cli import main; sys.exit(main())"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 2) -> str:
    """The one line that the command answers with."""
    capsys.readouterr()
    assert cli.main([*map(str, arguments), "--quiet"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("ponder: ")
    assert len(lines[0]) < 500
    return lines[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps; its `model` is a model folder."""
    folder = tmp_path_factory.mktemp("small") / "run"
    assert cli.main(["train", "pretrain", "--out", str(folder), *TINY, "--steps", "3", "--quiet"]) == 0
    return folder


# settings


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--stpes 3", "unknown setting 'stpes'; did you mean 'steps'?"),
        ("--optimizer.lrr 1", "did you mean 'optimizer.lr'?"),
        ("--steps 0", "--steps 0 is not allowed: expected int from 1"),
        ("--steps=-1", "--steps -1 is not allowed"),
        ("--steps many", "--steps many is not allowed"),
        ("--optimizer.lr nan", "'optimizer.lr' is not a number (nan)"),
        ("--optimizer.lr -1", "--optimizer.lr -1.0 is not allowed: expected number from 0"),
        ("--shape.width 15", "width 15 is not a multiple of"),
        ("--shape.kv-heads 5", "kv_heads 5"),
        ("--row-tokens 5000", "row_tokens is 5000; the model's context is 192"),
        ("--model no/such/model", "no/such/model: no model here"),
        ("recipe-that-is-not.toml", "recipe-that-is-not.toml"),
    ],
)
def test_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: str, message: str) -> None:
    line = refused(capsys, "train", "pretrain", "--out", tmp_path / "run", *TINY, *flags.split())
    assert message in line
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes = 3", "stpes"),
        ("steps = 0", "steps"),
        ("steps = ", "recipe.toml"),
        ("[optimizer]\nlr = -1.0", "optimizer.lr"),
        ("[mixture]\nfacs = 1.0", "unknown kind of document 'facs'; did you mean 'facts'?"),
        ("[mixture]\nfacts = 0.0", "mixture"),
        ("[anneal]\nfacs = 1.0", "unknown kind of document 'facs'; did you mean 'facts'?"),
        ("[anneal]\nfacts = 0.0", "anneal"),
        ("\x00", "recipe.toml"),
    ],
)
def test_recipes(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    assert message in refused(capsys, "train", "pretrain", recipe, "--out", tmp_path / "run", *TINY)


# data


def sft(tmp_path: Path, small: Path, entry: str) -> list[str | Path]:
    recipe = tmp_path / "sft.toml"
    recipe.write_text(f"[[data]]\n{entry}\n")
    return [*["train", "sft"], recipe, "--model", small / "model", "--out", tmp_path / "run", "--steps", "2", *SFT]


SFT = ["--tokens-per-step", "256", "--row-tokens", "128", "--threads", "1"]
ROW = '{"prompt": "1+1", "completion": "<think></think>2"}\n'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "rows.jsonl: no rows"),
        ("\n\n", "rows.jsonl: no rows"),
        (ROW + "{", "rows.jsonl:2: not valid JSON"),
        (ROW + "[1]", "rows.jsonl:2"),
        (ROW + '{"prompt": "1+1"}', "rows.jsonl:2: no text in 'completion'"),
        (ROW + '{"prompt": "1+1", "completion": "  "}', "rows.jsonl:2: the completion is empty"),
        (ROW + '{"prompt": 3, "completion": "3"}', "rows.jsonl:2: no text in 'prompt'"),
        (ROW + '{"messages": []}', "rows.jsonl:2: messages must end with the assistant's turn"),
        (ROW + json.dumps({"prompt": "1+" * 300 + "1", "completion": "301"}), "do not fit the context of 192"),
    ],
)
def test_rows_to_imitate(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, rows: str, message: str
) -> None:
    (tmp_path / "rows.jsonl").write_text(rows)
    assert message in refused(capsys, *sft(tmp_path, small, f'file = "{tmp_path}/rows.jsonl"'))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('file = "nowhere.jsonl"', "nowhere.jsonl: no such file"),
        ('task = "chian"', "unknown task 'chian'; did you mean 'chain'?"),
        ('task = "chain"\nshortset = 3', "did you mean 'shortest'?"),
        ('task = "chain"\nshortest = 9\nlongest = 3', "chain: lengths 9 to 3"),
        ("weight = 1.0", "names either task or file"),
        ('task = "chain"\nweight = "heavy"', "data.weight 'heavy' is not allowed"),
        ('task = "chain"\nlimit = 0', "data.limit 0 is not allowed: expected int from 1"),
        ('task = "chain"\nlimit = "all"', "data.limit 'all' is not allowed"),
        ('task = "chain"\nefforts = ["hihg"]', "data.efforts ['hihg'] is not allowed"),
        ('task = "chain"\nweight = -1.0', "data weights must be at least 0"),
    ],
)
def test_data_entries(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, entry: str, message: str
) -> None:
    assert message in refused(capsys, *sft(tmp_path, small, entry))


def test_a_corrected_line_is_not_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path) -> None:
    """A run that failed before its first step leaves nothing that stands in the way."""
    (tmp_path / "rows.jsonl").write_text(ROW)
    assert "no such file" in refused(capsys, *sft(tmp_path, small, 'file = "rwos.jsonl"'))
    assert cli.main([*map(str, sft(tmp_path, small, f'file = "{tmp_path}/rows.jsonl"')), "--quiet"]) == 0
    assert "other settings" in refused(capsys, *sft(tmp_path, small, 'task = "chain"'))


# sampling


def grpo(tmp_path: Path, small: Path, entry: str, flags: str) -> list[str | Path]:
    recipe = tmp_path / "grpo.toml"
    recipe.write_text(f"[[data]]\n{entry}\n")
    fixed = ["--problems-per-step", "2", "--group-size", "2", "--eval-every", "0", "--threads", "1", "--steps", "1"]
    arguments = ["train", "grpo", recipe, "--model", small / "model", "--out", tmp_path / "run", *fixed]
    return [*arguments, *flags.split()]


@pytest.mark.parametrize(
    ("entry", "flags", "message"),
    [
        ('task = "chain"', "--group-size 1", "--group-size 1 is not allowed: expected int from 2"),
        ('task = "chain"', "--temperature -1", "--temperature -1.0 is not allowed: expected number above 0"),
        ('task = "chain"', "--preset gropo", "known presets are grpo, dr_grpo"),
        ('task = "chain"', "--levels.none.max-tokens 5000", "do not fit the model's context of 192"),
        ('task = "chain"\nshortest = 20\nlongest = 26', "", "do not fit the model's context of 192"),
        ('file = "rows.jsonl"', "", "data entries name a task here"),
        ('task = "file:{tmp}/empty.jsonl"', "", "empty.jsonl: holds no rows"),
        ('task = "file:{tmp}/broken.jsonl#train"', "", "broken.jsonl:2: column 'question' is empty"),
        ('task = "file:{tmp}/nowhere.jsonl"', "", "nowhere.jsonl: no such file"),
    ],
)
def test_problems_to_sample(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, entry: str, flags: str, message: str
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"question": "1+1", "answer": 2}\n{"question": "", "answer": 2}\n')
    assert message in refused(capsys, *grpo(tmp_path, small, entry.replace("{tmp}", str(tmp_path)), flags))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("eval countdwon", "unknown task 'countdwon'; did you mean 'countdown'?"),
        ("eval countdown --limit 0", "--limit 0 is not allowed: expected int from 1"),
        ("eval countdown --temperature -1", "--temperature -1.0 is not allowed"),
        ("eval countdown --efforts hihg", "--efforts hihg is not allowed"),
        ("eval countdown --model scripted:nowhere", "nowhere: the script can not be read"),
        ("eval countdown --model no/such/model", "no/such/model"),
        ("eval file:nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("eval", "ponder eval needs TASK"),
        ("solve 1+1 --strategy votte", "unknown strategy 'votte'; did you mean 'vote'?"),
        ("solve 1+1 --n 0", "--n 0 is not allowed"),
        ("solve 1+1 --temperature -1", "--temperature -1.0 is not allowed"),
        ("solve 1 + 1", "put quotes around a text with spaces"),
        ("grade nowhere.jsonl", "nowhere.jsonl"),
        ("evla countdown", "unknown command 'evla'; did you mean 'eval'?"),
    ],
)
def test_other_commands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, arguments: str, message: str
) -> None:
    words = arguments.split()
    if words[0] in ("eval", "solve") and "--model" not in words:
        words += ["--model", str(small / "model")]
    out = ["--out", tmp_path / "run"] if words[0] == "eval" else []
    assert message in refused(capsys, *words, *out)


# models and checkpoints


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _foreign(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut weights": lambda m: _cut(m / "model.safetensors"),
    "no weights": lambda m: (m / "model.safetensors").unlink(),
    "text for weights": lambda m: (m / "model.safetensors").write_text("hello"),
    "cut tokenizer": lambda m: _cut(m / "tokenizer.json"),
    "no tokenizer": lambda m: (m / "tokenizer.json").unlink(),
    "cut config": lambda m: _cut(m / "config.json"),
    "another family": _foreign,
    "empty config": lambda m: (m / "config.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_models(capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, damage: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(small / "model", model)
    DAMAGE[damage](model)
    (tmp_path / "rows.jsonl").write_text(ROW)
    arguments = sft(tmp_path, small, f'file = "{tmp_path}/rows.jsonl"')
    line = refused(capsys, *arguments, "--model", model)
    assert str(model) in line


CHECKPOINT_DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut weights": lambda c: _cut(c / "weights.safetensors"),
    "no optimizer": lambda c: (c / "optimizer.safetensors").unlink(),
    "cut state": lambda c: _cut(c / "state.json"),
    "foreign state": lambda c: (c / "state.json").write_text('{"epoch": 3}'),
    "other format": lambda c: (c / "state.json").write_text(
        (c / "state.json").read_text().replace('"format": 1', '"format": 99')
    ),
}


@pytest.mark.parametrize("damage", CHECKPOINT_DAMAGE)
def test_damaged_checkpoints(capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(small, run)
    checkpoint = next((run / "checkpoints").iterdir())
    CHECKPOINT_DAMAGE[damage](checkpoint)
    line = refused(capsys, "train", "pretrain", "--out", run, *TINY, "--steps", "5")
    assert checkpoint.name in line
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


# run directories


def test_run_directories(capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path) -> None:
    command = ["train", "pretrain", *TINY, "--steps", "3", "--out"]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("do not touch")
    assert "not empty and not a ponder run (holds 'thesis.txt')" in refused(capsys, *command, foreign)
    assert [p.name for p in foreign.iterdir()] == ["thesis.txt"]
    assert "is a file, not a directory" in refused(capsys, *command, foreign / "thesis.txt")
    assert "other settings (seed was 0, now 7)" in refused(capsys, *command, small, "--seed", "7")
    assert "no run to resume" in refused(capsys, *command, tmp_path / "none", "--resume", "True")
    with Run.open(tmp_path / "busy", "train pretrain", {}):
        line = refused(capsys, *command, tmp_path / "busy")
    assert f"in use by process {os.getpid()}" in line


# hostile answers

HOSTILE = {
    "9^{9^{9^9}}": "\\boxed{9^{9^{9^9}}}",
    "1000000!": "\\boxed{1000000!}",
    "100,000 parentheses": "\\boxed{" + "(" * 100_000 + ")" * 100_000 + "}",
    "100,000 open parentheses": "(" * 100_000,
    "100,000 boxes": "\\boxed{" * 100_000,
    "a megabyte of digits": "9" * 1_000_000,
    "nested fractions": "\\boxed{" + "\\frac{1}{" * 5000 + "2" + "}" * 5000 + "}",
    "import": "\\boxed{__import__('os').system('touch OWNED')}",
    "lambda": "\\boxed{(lambda: open('OWNED', 'w'))()}",
    "NUL": "\\boxed{\x006\x00}",
    "unclosed thinking": "<think>\\boxed{7}",
    "thinking twice": "<think>a</think><think>\\boxed{7}",
    "close twice": "<think>a</think>\\boxed{6}</think>\\boxed{7}",
    "two boxes": "<think></think>\\boxed{6} \\boxed{7}",
    "a false equation": "<think></think>\\boxed{9 = 7}",
    "empty box": "<think></think>\\boxed{}",
    "nothing": "",
    "only spaces": " \n\t ",
    "lone surrogate": "\\boxed{\ud800}",
    "right to left": "\\boxed{\u202e6}",
    "a quotient without its dividend": "/7",
}
GRADERS = ("math", "number", "exact", "choice", "format", "language", "length")


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_answers(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No grader raises, hangs, executes anything or finds them right."""
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    for name in GRADERS:
        grade = ponder.grade(name, reference="B" if name == "choice" else "7", completion=HOSTILE[case])
        assert grade.score is None or 0 <= abs(grade.score) <= 1, name
        if name in ("math", "number", "exact", "choice"):
            assert not grade.correct, (name, grade)
    assert ponder.graders.math.equal(HOSTILE[case], "7") is not True
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []


def test_the_right_answer_among_them_is_right() -> None:
    for name in ("math", "number", "exact"):
        assert ponder.grade(name, reference="7", completion="<think>\\boxed{8}</think>\\boxed{7}").correct, name


@given(st.text(st.sampled_from("0123456789+-*/^=.,()[]{}<>\\ \n$%_!|&abxeipfracsqtboxdthn\x00é"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_graded(text: str) -> None:
    for name in ("math", "number", "exact", "choice", "format", "length"):
        for completion in (text, f"<think>{text}</think>\\boxed{{{text}}}"):
            grade = ponder.grade(name, reference="7", completion=completion)
            assert grade.outcome in ("correct", "wrong", "unparsed", "timeout", "error")


# disks and signals: the disturbed run is a process of its own, the one that continues is this one

STEPS = 60
LONG = [*TINY, "--steps", str(STEPS), "--save-every", "7", "--quiet"]


def start(out: Path, prefix: str = "") -> subprocess.Popen[str]:
    """The run in its own process; `prefix` is a shell command before it."""
    command = [*PONDER, "train", "pretrain", "--out", str(out), *LONG]
    return subprocess.Popen(["sh", "-c", f'{prefix} exec "$@"', "sh", *command], stderr=subprocess.PIPE, text=True)


def steps_done(out: Path) -> int:
    file = out / "metrics.jsonl"
    return len(file.read_bytes().split(b"\n")) - 1 if file.exists() else 0


def wait_for(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while steps_done(out) < step and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert process.poll() is None, "the run ended before it could be disturbed"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert cli.main(["train", "pretrain", "--out", str(out), *LONG]) == 0
    return out


def same_end(out: Path, reference: Path) -> None:
    """The same command line continues, and ends at the same weights and the same metrics."""
    assert cli.main(["train", "pretrain", "--out", str(out), *LONG]) == 0
    weights = "model/model.safetensors"
    assert (out / weights).read_bytes() == (reference / weights).read_bytes()
    rows, expected = ([json.loads(x) for x in (p / "metrics.jsonl").read_text().splitlines()] for p in (out, reference))
    assert [r["step"] for r in rows] == list(range(1, STEPS + 1))
    assert [(r["loss"], r["grad_norm"]) for r in rows] == [(r["loss"], r["grad_norm"]) for r in expected]


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 20])
def test_kill_then_resume_ends_at_the_same_bits(tmp_path: Path, undisturbed: Path, step: int) -> None:
    out = tmp_path / "run"
    process = start(out)
    wait_for(out, step, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    same_end(out, undisturbed)


@pytest.mark.slow
def test_interrupt_then_resume_ends_at_the_same_bits(tmp_path: Path, undisturbed: Path) -> None:
    out = tmp_path / "run"
    process = start(out)
    wait_for(out, 10, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert len(said.splitlines()) == 1
    assert said.startswith("ponder: interrupted; what is finished is saved, go on with: ponder train pretrain --out")
    same_end(out, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_disturbed_reinforcement_ends_at_the_same_bits(tmp_path: Path, small: Path, sign: signal.Signals) -> None:
    flags = "--quiet --steps 14 --save-every 3 --eval-every 5 --eval-problems 4 --eval-attempts 2 --engine-dtype fp32"
    reward = (
        "[rewards.length]\nsoft = 2\nhard = 400"  # an untrained model's lengths differ: there is something to learn
    )
    words = [str(w) for w in grpo(tmp_path, small, f'task = "countdown"\n{reward}', flags)]
    once, out = tmp_path / "once", tmp_path / "run"
    assert cli.main([*words, "--out", str(once), "--steps", "14"]) == 0
    process = subprocess.Popen([*PONDER, *words, "--steps", "14"], stderr=subprocess.PIPE, text=True)
    wait_for(out, 6, process)
    process.send_signal(sign)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (130 if sign == signal.SIGINT else -sign), said
    assert cli.main([*words, "--steps", "14"]) == 0
    assert (out / "model/model.safetensors").read_bytes() == (once / "model/model.safetensors").read_bytes()
    kept = ("step", "reward", "loss", "grad_norm", "eval_pass1", "length", "entropy")
    rows, expected = (
        [{k: r[k] for k in kept if k in r} for r in map(json.loads, (p / "metrics.jsonl").read_text().splitlines())]
        for p in (out, once)
    )
    assert rows == expected
    assert sum(r["grad_norm"] > 0 for r in rows if r["step"]) > 7


@pytest.mark.slow
def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path, undisturbed: Path) -> None:
    """A limit on file sizes lets settings and a few metrics through, and no checkpoint."""
    out = tmp_path / "run"
    process = start(out, "ulimit -f 10;")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert len(said.splitlines()) == 1
    assert "what was saved before is intact" in said
    assert not [p for p in out.rglob("*") if p.name.startswith(".tmp-")]
    same_end(out, undisturbed)


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], undisturbed: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        line = refused(capsys, "train", "pretrain", "--out", disk / "run", *LONG, code=1)
        assert "the disk is full; what was saved before is intact" in line
        kept = list((disk / "run" / "checkpoints").iterdir())
        assert kept
        assert all((p / "state.json").exists() for p in kept)
        subprocess.run(["mount", "-o", "remount,size=5m", str(disk)], check=True)
        same_end(disk / "run", undisturbed)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.slow
def test_two_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    first = start(out)
    wait_for(out, 2, first)
    first.send_signal(signal.SIGSTOP)
    try:
        assert f"in use by process {first.pid}" in refused(capsys, "train", "pretrain", "--out", out, *LONG)
    finally:
        first.kill()
        first.communicate()
