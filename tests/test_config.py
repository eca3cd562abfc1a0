from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from ponder import config
from ponder.errors import ConfigError


class Optim(config.Config):
    lr: Annotated[float, Meta(gt=0, le=1)] = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


class Example(config.Config):
    group_size: Annotated[int, Meta(ge=2)] = 8
    temperature: Annotated[float, Meta(ge=0)] = 1.0
    kl: Literal["k1", "k2", "k3"] = "k3"
    optim: Optim = Optim()
    extra: Optim | None = None
    weights: dict[str, float] = {}
    folder: Path | None = None
    low: int = 0
    high: int = 10

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")


class Needs(config.Config):
    name: str


def write(folder: Path, text: str) -> Path:
    file = folder / "recipe.toml"
    file.write_text(text)
    return file


def message(*arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(Example, *arguments)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_defaults_then_toml_then_flags(tmp_path: Path) -> None:
    file = write(tmp_path, 'group_size = 4\nkl = "k1"\n[optim]\nlr = 0.5\n')
    loaded = config.load(Example, file, {"kl": "k2", "optim.betas": (0.1, 0.2)})
    assert (loaded.group_size, loaded.kl, loaded.temperature) == (4, "k2", 1.0)
    assert loaded.optim == Optim(lr=0.5, betas=(0.1, 0.2))


def test_integers_are_numbers_and_text_is_a_path(tmp_path: Path) -> None:
    loaded = config.load(Example, write(tmp_path, 'temperature = 2\nfolder = "a/b"\n'))
    assert loaded.temperature == 2.0
    assert loaded.folder == Path("a/b")
    assert config.to_dict(loaded)["folder"] == "a/b"


def test_optional_nested_struct_from_toml_and_flag(tmp_path: Path) -> None:
    assert config.load(Example, write(tmp_path, "[extra]\nlr = 0.25\n")).extra == Optim(lr=0.25)
    assert config.load(Example, None, {"extra.lr": 0.125}).extra == Optim(lr=0.125)


@pytest.mark.parametrize(
    ("text", "near"),
    [("groupsize = 4", "group_size"), ("[optim]\nbeta = [0, 0]", "optim.betas"), ("lr = 0.1", "optim.lr")],
)
def test_misspelt_key_names_the_file_and_the_nearest(tmp_path: Path, text: str, near: str) -> None:
    file = write(tmp_path, text)
    found = message(file)
    assert found.startswith(f"{file}: unknown setting")
    assert found.endswith(f"did you mean '{near}'?")


def test_key_like_nothing_lists_what_exists() -> None:
    assert "Known: extra, folder, group_size" in message(None, {"zzzzzz": 1})


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("group_size", 1, "int from 2"),
        ("group_size", "four", "int from 2"),
        ("group_size", 2.5, "int from 2"),
        ("temperature", -1.0, "number from 0"),
        ("kl", "k4", "one of 'k1', 'k2', 'k3'"),
        ("optim.lr", 0.0, "number above 0 up to 1"),
        ("optim.lr", 1.5, "number above 0 up to 1"),
        ("folder", 3, "path or none"),
    ],
)
def test_impossible_value_names_key_value_and_range(key: str, value: object, allowed: str) -> None:
    found = message(None, {key: value})
    assert found == f"--{key.replace('_', '-')} {value} is not allowed: expected {allowed}"


def test_bad_value_of_a_file_names_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[optim]\nlr = 7.0")
    assert message(file) == f"{file}: optim.lr = 7.0 is not allowed: expected number above 0 up to 1"


def test_flag_that_repairs_the_file_wins(tmp_path: Path) -> None:
    assert config.load(Example, write(tmp_path, "group_size = 1"), {"group_size": 2}).group_size == 2


def test_rule_across_fields(tmp_path: Path) -> None:
    file = write(tmp_path, "low = 11")
    assert message(file) == f"{file}: low 11 is above high 10"


def test_nan_is_no_number(tmp_path: Path) -> None:
    file = write(tmp_path, "temperature = nan")
    assert message(file) == f"{file}: 'temperature' is not a number (nan)"


def test_required_field() -> None:
    with pytest.raises(ConfigError, match=r"'name' is required: set it in the recipe or give --name"):
        config.load(Needs)


def test_broken_toml_says_where(tmp_path: Path) -> None:
    found = message(write(tmp_path, "a = 1\nb = = 2\n"))
    assert "not valid TOML" in found
    assert "line 2" in found


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert message(tmp_path / "none.toml").endswith("none.toml: no such file")
    assert "can not be read" in message(tmp_path)


def test_binary_file_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(b"\xff\xfe\x00")
    assert "not valid TOML" in message(file)


def test_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'no-such-recipe'"):
        config.find_recipe("no-such-recipe")


def test_differences_are_dotted() -> None:
    old, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}, "e": 5}
    assert config.differences(old, new) == {"b.c": (2, 4), "b.d": (3, None), "e": (None, 5)}


@given(st.integers(2, 100), st.floats(0, 10), st.sampled_from(["k1", "k2", "k3"]), st.floats(0, 1, exclude_min=True))
def test_config_survives_its_dict(group_size: int, temperature: float, kl: str, lr: float) -> None:
    values = {"group_size": group_size, "temperature": temperature, "kl": kl, "optim.lr": lr}
    loaded = config.load(Example, None, values)
    assert config.load(Example, None, config.to_dict(loaded)) == loaded
