from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from ponder import cli, config
from ponder.cli import table
from ponder.cli.table import COMMANDS, Command
from ponder.errors import ConfigError, WorkError
from ponder.registry import locate


class Inner(config.Config):
    lr: Annotated[float, Meta(gt=0)] = 0.1
    fast: bool = False


class Settings(config.Config):
    text: str = ""
    n: Annotated[int, Meta(ge=1)] = 4
    kind: Literal["a", "b"] = "a"
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = []
    folder: Path | None = None
    seed: int = 0
    out: str | None = None


def run(settings: Settings) -> dict[str, Any]:
    """Prints where it should not, and does what its text says."""
    sys.stdout.write("chatter\n")
    match settings.text:
        case "interrupt":
            raise KeyboardInterrupt
        case "fail":
            raise WorkError("the worker\nwas lost")
        case "bug":
            raise ZeroDivisionError("by zero")
        case "unwell":
            return {"ok": False}
    return config.to_dict(settings)


def show(result: dict[str, Any]) -> str:
    return f"text is {result.get('text')}"


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cli_fake", sys.modules[__name__])
    echo = Command("say it", "cli_fake:run", "cli_fake:Settings", words=("text",), show="cli_fake:show", resumes=True)
    recipe = Command("from a file", "cli_fake:run", "cli_fake:Settings", recipe=True)
    monkeypatch.setitem(COMMANDS, "echo", echo)
    monkeypatch.setitem(COMMANDS, "train fake", recipe)


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "chatter" in err
    assert out.count("\n") == 1
    return json.loads(out)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert cli.main(arguments) == code
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line != "chatter"]
    assert len(lines) == 1, err
    assert lines[0].startswith("ponder: ")
    return lines[0].removeprefix("ponder: ")


def test_words_flags_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(
        capsys, "echo", "-3+4", "--n", "2", "--inner.lr", "0.5", "--inner.fast", "--names", "x", "y", "--seed=7"
    )
    assert (found["text"], found["n"], found["names"], found["seed"]) == ("-3+4", 2, ["x", "y"], 7)
    assert found["inner"] == {"lr": 0.5, "fast": True}


def test_word_after_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert result(capsys, "echo", "--n", "2", "hello")["text"] == "hello"
    assert result(capsys, "echo", "--text", "hello")["text"] == "hello"
    assert result(capsys, "echo", "--", "--n")["text"] == "--n"


def test_recipe_file_then_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('n = 9\nkind = "b"\n[inner]\nfast = true\n[[rows]]\na = 1\nb = "x"\n')
    found = result(capsys, "train", "fake", str(file), "--kind", "a", "--inner.no-fast", "--folder", "x")
    assert (found["n"], found["kind"], found["inner"]["fast"], found["folder"]) == (9, "a", False, "x")
    assert found["rows"] == [{"a": 1, "b": "x"}]


def test_show_prints_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "hello"]) == 0
    assert capsys.readouterr().out == "chatter\ntext is hello\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["echp"], "unknown command 'echp'; did you mean 'echo'?"),
        (["train", "fale"], "unknown command 'train fale'; did you mean 'train fake'?"),
        (["echo", "x", "--nn", "3"], "unknown setting 'nn'; did you mean 'n'?"),
        (["echo", "x", "--inner.lrr", "3"], "unknown setting 'inner.lrr'; did you mean 'inner.lr'?"),
        (["echo", "x", "--lr", "3"], "unknown setting 'lr'; did you mean 'inner.lr'?"),
        (["echo", "x", "--n", "0"], "--n 0 is not allowed: expected int from 1"),
        (["echo", "x", "--n", "two"], "--n two is not allowed: expected int from 1"),
        (["echo", "x", "--n=two"], "--n two is not allowed: expected int from 1"),
        (["echo", "x", "--n"], "Missing value for argument '--n'. Expected 1 values. (int from 1)"),
        (["echo", "x", "--n", "-1"], "--n -1 is not allowed: expected int from 1"),
        (["echo", "x", "--inner.lr", "-0.5"], "--inner.lr -0.5 is not allowed: expected number above 0"),
        (["echo", "x", "--kind", "c"], "--kind c is not allowed: expected one of 'a', 'b'"),
        (["echo", "x", "y"], "takes TEXT, but 'y' was given as well; put quotes around a text with spaces"),
        (["echo"], "ponder echo needs TEXT"),
        (["train", "fake", "--rows.a", "1"], "--rows.a can not be given as a flag"),
        (["train", "fake", "--rows", "1"], "--rows can not be given as a flag; set it in a recipe file"),
        (["train", "fake", "none.toml"], "unknown recipe 'none.toml'"),
    ],
)
def test_wrong_input_is_one_line_and_2(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    line = refusal(capsys, *arguments)
    assert said in line


def test_bad_recipe_line_names_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("n = 0\n")
    assert refusal(capsys, "train", "fake", str(file)) == f"{file}: n = 0 is not allowed: expected int from 1"


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "echo", "fail", code=1) == "the worker was lost"
    assert refusal(capsys, "echo", "bug", code=1) == "ZeroDivisionError: by zero (--debug shows where)"
    interrupted = "interrupted; what is finished is saved, go on with: ponder echo interrupt --n 3"
    assert refusal(capsys, "echo", "interrupt", "--n", "3", code=130) == interrupted
    assert cli.main(["echo", "unwell"]) == 1


def test_traceback_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["echo", "bug", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("PONDER_DEBUG", "1")
    assert cli.main(["echo", "bug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert cli.main(arguments) == 0
        text = capsys.readouterr().out
        assert all(name.split()[0] in text for name in COMMANDS)
    assert cli.main(["train", "--help"]) == 0
    assert "fake" in capsys.readouterr().out


def test_every_command_of_the_table_works(capsys: pytest.CaptureFixture[str]) -> None:
    """Targets exist, defaults are inside their bounds, --seed and --out are everywhere, words name settings."""
    for name, command in COMMANDS.items():
        cls = locate(command.config)
        assert callable(locate(command.run)), name
        assert not command.show or callable(locate(command.show)), name
        fields = config.fields(cls)
        assert {"seed", "out"} <= set(fields), name
        assert {word.strip("[]") for word in command.words} <= set(fields), name
        assert config.build(cls, config.to_dict(cls())) == cls(), name
        assert cli.main([*name.split(), "--help"]) == 0
        assert "--seed" in capsys.readouterr().out


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence stands before each default, but for groups of settings, which have one of their own."""
    for name in [n for n, command in COMMANDS.items() if command.config.startswith("ponder.")]:
        assert cli.main([*name.split(), "--help"]) == 0
        text = re.sub(r"[│╭╮╰╯─\s]+", " ", capsys.readouterr().out)
        flags = re.findall(r"(--[\w.-]+) [^(]*?\(default:", text)
        assert "--seed" in flags, name
        bare = re.findall(
            r"(--[\w.-]+)(?:, --no-[\w.-]+)?(?: (?:[A-Z]+|\{\S+\}\|?[A-Z]*|\[[^\]]*\]))? \(default:", text
        )
        tables = ("--mixture.", "--rewards.")  # their keys are the user's own
        assert not [flag for flag in bare if not flag.startswith(tables)], (name, bare)


def test_every_shipped_recipe_parses(root: Path) -> None:
    """A quickstart recipe with the settings of both its stages, any other with some training command."""
    from ponder.evals import quickstart
    from ponder.training import grpo, sft

    files = sorted((root / "recipes").glob("*.toml"))
    assert files
    for file in files:
        if file.stem.startswith("quickstart-"):
            recipe = config.load(quickstart.Recipe, file)
            config.load(sft.SFTConfig, None, recipe.sft)
            config.load(grpo.GRPOConfig, None, recipe.grpo)
        else:
            assert accepting(file), f"no training command accepts {file}"


def accepting(file: Path) -> list[str]:
    """The training commands whose settings the recipe is."""
    found: list[str] = []
    for name, command in table.members("train").items():
        if name != "train fake":
            with contextlib.suppress(ConfigError):
                config.load(locate(command.config), file)
                found.append(name)
    return found


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from ponder.cli import main; sys.exit(main())", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from ponder.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'tyro', 'rich', 'msgspec', 'tokenizers', 'matplotlib'} & set(sys.modules);"
        "print(heavy, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == "set()\n"


def test_help_is_quick() -> None:
    best = 9.0
    for _ in range(5):
        started = time.perf_counter()
        assert shell("--help").returncode == 0
        best = min(best, time.perf_counter() - started)
    assert best < 1.0, "0.3 s on an idle machine; the bound leaves room for a busy one"


@pytest.mark.parametrize("arguments", [["--help"], ["solve", "--help"], ["train", "grpo", "--help"]])
def test_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    script = f"from ponder.cli import main; raise SystemExit(main({arguments}))"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == b""


def test_public_names_exist() -> None:
    import ponder

    for name in ponder.__all__:
        assert getattr(ponder, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        ponder.lod  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]


def test_import_ponder_is_light() -> None:
    script = "import ponder, sys; print({'torch', 'numpy', 'msgspec'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "set()\n"
