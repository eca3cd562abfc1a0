from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ponder import registry
from ponder.errors import ConfigError
from ponder.registry import Registry, locate

THINGS = Registry("thing", {"join": "os.path:join", "here": 42}, group="ponder.things")


def test_names_objects_and_paths() -> None:
    assert THINGS.get("join") is __import__("os").path.join
    assert THINGS.get("here") == 42
    assert THINGS.get("json:dumps") is __import__("json").dumps
    assert list(THINGS) == ["here", "join"]
    assert "join" in THINGS
    assert "jion" not in THINGS


def test_unknown_name_answers_with_nearest_and_list() -> None:
    with pytest.raises(ConfigError, match=r"unknown thing 'jion'; did you mean 'join'\? Known: here, join"):
        THINGS.get("jion")


def test_missing_module_and_attribute() -> None:
    with pytest.raises(ConfigError, match="no module 'no_such_module'"):
        THINGS.get("no_such_module:x")
    with pytest.raises(ConfigError, match=r"'json' has no 'dunps'; did you mean 'dumps'\?"):
        THINGS.get("json:dunps")


def test_module_that_lacks_a_dependency_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import absent_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="absent_dependency"):
        locate("needs_more:x")
    sys.modules.pop("needs_more", None)


def test_entry_points_of_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("plugged", "json:loads", "ponder.things")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "ponder.things" else [])
    assert THINGS.get("plugged") is __import__("json").loads
    assert THINGS.names() == ["here", "join", "plugged"]
