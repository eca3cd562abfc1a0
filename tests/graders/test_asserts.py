"""Test texts as calls with expected values, and what stays a script."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.graders.asserts import Case, read
from ponder.graders.behind import guarded

REWRITTEN: list[tuple[str, dict[str, Any]]] = [
    ("assert f(1, [2]) == {'a': (3,)}", {"args": (1, [2]), "want": {"a": (3,)}}),
    ("assert 3 == f()", {"want": 3}),
    ("assert f(x=-1) == -2.5, 'why'", {"kwargs": {"x": -1}, "want": -2.5}),
    ("assert f('a' + 'b', 3 * 2) == 1.0 / 2", {"args": ("ab", 6), "want": 0.5}),
    ("assert f(1) == set([1, 2])", {"args": (1,), "want": {1, 2}}),
    ("assert f(1)", {"args": (1,), "relation": "true"}),
    ("assert not f(1)", {"args": (1,), "relation": "false"}),
    ("assert f(1) is None", {"args": (1,), "want": None, "exact": True}),
    ("assert abs(f(1) - 2) < 1e-6", {"args": (1,), "want": 2, "tolerance": 1e-6}),
]


@pytest.mark.parametrize(("text", "expected"), REWRITTEN)
def test_rewritten(text: str, expected: dict[str, Any]) -> None:
    found = read(text)
    assert found.cases == (Case("f", **expected),)
    assert found.rest == ""


KEPT = [
    "assert f(1) == f(2)", "assert f(1) != 2", "assert f(1) < 2", "assert 1 < f(1) < 3", "assert f(f(1)) == 3",
    "assert f(x) == 1",
    "assert f(9 ** 9 ** 9) == 1", "assert f('a' * 10 ** 9) == 1", "assert f(1 / 0) == 1", "assert tuple(f(1)) == (1,)",
    "assert f(*[1]) == 1", "assert f(**{'a': 1}) == 1", "assert f('%0999999999d' % 1) == 1", "assert f(1) == 1 and f(2) == 2",
]  # fmt: skip


@pytest.mark.parametrize("text", KEPT)
def test_kept_as_a_script(text: str) -> None:
    found = read(text)
    assert found.cases == ()
    assert found.rest.startswith("assert")
    assert "f" in found.names


def test_check_functions_are_read_as_their_body() -> None:
    text = (
        "METADATA = {'a': 1}\ndef check(candidate):\n    'Doc'\n    assert candidate(1) == 2\n    assert True, 'yes'\n"
        "    import math\n    for i in range(3):\n        assert candidate(i) == math.floor(i)\ncheck(f)"
    )
    found = read(text, "f")
    assert found.cases == (Case("f", (1,), want=2),)
    assert found.rest == "import math\nfor i in range(3):\n    assert candidate(i) == math.floor(i)"
    assert found.names == ("candidate", "f")


def test_names_the_program_gives() -> None:
    text = "import math\ndef own(x):\n    return x\nassert own(g(1)) == math.sqrt(h(2)) + len([1])"
    assert read(text).names == ("g", "h")


def test_arguments_beside_the_program() -> None:
    found = read("assert f(root) == 2", "", True)
    assert found.cases == (Case("f", want=2, expression="f(root)"),)


def test_guarded_scripts_wait_for_answers() -> None:
    text = guarded("a = f(1)\nfor i in range(2):\n    assert a == i, 'no'")
    assert "try:\n    a = f(1)\nexcept _ponder_ask:\n    pass" in text
    assert "_ponder_check(lambda: a == i, \"assert a == i, 'no'\")" in text


@pytest.mark.parametrize("text", ["assert (", "x = 1", "", "assert True", "(" * 10_000])
def test_what_holds_no_test(text: str) -> None:
    with pytest.raises(ValueError, match=r"not Python|no test"):
        read(text)


def test_a_text_in_old_style_is_read_without_a_warning() -> None:
    assert read("assert f('\\w') == 1").cases[0].args == ("\\w",)
