"""The scripted engine's own ways: finding its line, branching, files."""

from __future__ import annotations

from pathlib import Path

import pytest

import ponder.engines as engines
from ponder.engines import ScriptedEngine
from ponder.errors import ConfigError, DataError
from ponder.types import Message, Request, Sampling


def ask(engine: ScriptedEngine, text: str, seed: int = 0, begun: str = "", **sampling: object) -> str:
    prompt = engine.encode([Message("user", text)]) + tuple(engine.tokenizer.encode(begun))
    return engine.generate([Request(prompt, Sampling(seed=seed, **sampling))])[0].text  # type: ignore[arg-type]


def test_the_longest_key_wins_and_seeds_walk_through_the_lines() -> None:
    engine = ScriptedEngine({"1+1": ["2", "3", "4"], "1+11": "12", "*": "what?"})
    assert [ask(engine, "what is 1+1", seed=s) for s in range(4)] == ["2", "3", "4", "2"]
    assert ask(engine, "1+11") == "12"
    assert ask(engine, "hello") == "what?"
    assert ask(engine, "1+1", seed=2, temperature=0.0) == "2"


def test_a_begun_completion_is_continued() -> None:
    engine = ScriptedEngine({"q": ["a=1\nb=2\n5", "a=1\nb=3\n6", "a=2\n7"]})
    assert {ask(engine, "q", seed=s, begun="a=1\n") for s in range(5)} == {"b=2\n5", "b=3\n6"}
    assert ask(engine, "q", begun="a=1\nb=3\n") == "6"
    with pytest.raises(ConfigError, match="no completion of 'q' continues 'a=9'"):
        ask(engine, "q", begun="a=9")


def test_a_function_can_be_the_script() -> None:
    engine = ScriptedEngine(lambda text, seed: f"{len(text)} {seed}")
    assert ask(engine, "x", seed=4).endswith(" 4")


def test_unknown_prompts_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no line for the prompt .*knows 'left'"):
        ask(ScriptedEngine({"left": "x"}), "right")


def test_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text('{"prompt": "a", "completions": ["1", "2"]}\n\n{"prompt": "b", "completions": "3"}\n')
    engine = engines.load(f"scripted:{file}")
    assert isinstance(engine, ScriptedEngine)
    assert [ask(engine, "a", seed=1), ask(engine, "b")] == ["2", "3"]


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"prompt": 3, "completions": ["x"]}', '{"prompt": "a"}', '{"prompt": "a", "completions": [1]}', "[]"],
)
def test_broken_files_name_the_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match=r"s\.jsonl"):
        engines.load(f"scripted:{file}")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can not be read"):
        engines.load(f"scripted:{tmp_path / 'none.jsonl'}")
