"""Edits in answers: what is read, what is refused and in which words, and that a refusal changes nothing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.graders import edits
from ponder.graders.edits import Edit, EditError, apply, diff, read, says_done

ONE = {"calc.py": "def sub(a, b):\n    return a + b\n\n\ndef add(a, b):\n    return a + b\n"}
TWO = {"main.py": "import help\n\nx = 1\n", "help.py": "y = 2\nz = 3\n"}


def block(old: str, new: str, name: str = "") -> str:
    return f"{name}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def made(files: dict[str, str], answer: str) -> dict[str, str]:
    return apply(files, read(answer, list(files)))


def test_a_part_is_replaced() -> None:
    answer = "The sign is wrong.\n\n" + block(
        "def sub(a, b):\n    return a + b", "def sub(a, b):\n    return a - b", "calc.py"
    )
    assert made(ONE, answer) == {"calc.py": ONE["calc.py"].replace("a + b", "a - b", 1)}
    assert made(ONE, "```python\n" + answer + "```") == made(ONE, answer)  # fences mean nothing
    assert made(ONE, answer.replace("calc.py", "")) == made(ONE, answer)  # one file needs no name
    assert made(ONE, answer.replace("calc.py", "**`./calc.py`**:")) == made(ONE, answer)


def test_lines_are_whole_and_blanks_at_their_ends_forgiven() -> None:
    assert made(TWO, block("y = 2   ", "y = 4", "help.py"))["help.py"] == "y = 4\nz = 3\n"
    with pytest.raises(EditError, match="do not stand in the file"):
        made(TWO, block("= 2", "= 4", "help.py"))
    with pytest.raises(EditError, match="nearest line is 'y = 2'"):
        made(TWO, block("y  = 2", "y = 4", "help.py"))


def test_lines_are_taken_away_and_put_in() -> None:
    assert made(TWO, block("y = 2", "", "help.py").replace("=======\n\n", "=======\n"))["help.py"] == "z = 3\n"
    assert made(TWO, block("y = 2", "y = 2\nw = 0", "help.py"))["help.py"] == "y = 2\nw = 0\nz = 3\n"


def test_edits_are_made_in_order() -> None:
    answer = block("y = 2", "y = 5", "help.py") + block("y = 5", "y = 6") + block("x = 1", "x = 7", "main.py")
    assert made(TWO, answer) == {"main.py": "import help\n\nx = 7\n", "help.py": "y = 6\nz = 3\n"}


def test_all_or_nothing() -> None:
    found = read(block("y = 2", "y = 5", "help.py") + block("y = 2", "y = 6", "help.py"), list(TWO))
    with pytest.raises(EditError, match=r"edit 2, help\.py"):
        apply(TWO, found)
    assert TWO["help.py"] == "y = 2\nz = 3\n"


def test_whole_files() -> None:
    assert made(ONE, "```python\ndraft\n```\nno:\n```python\nx = 1\n```") == {"calc.py": "x = 1\n"}
    both = "main.py\n```python\nx = 0\n```\n\nhelp.py\n```\ny = 0\n```"
    assert made(TWO, both) == {"main.py": "x = 0\n", "help.py": "y = 0\n"}
    assert read("I see nothing wrong.", list(TWO)) == []


HOSTILE = {
    "../../etc/passwd": block("root", "me", "../../etc/passwd"),
    "/etc/passwd": block("root", "me", "/etc/passwd"),
    "tests.py": block("assert", "pass", "tests.py"),
    "x/main.py": block("x = 1", "x = 2", "x/main.py"),
    "does not say which file": block("x = 1", "x = 2"),
    "main.py, help.py": "```python\nx = 1\n```",
    "can be edited": "../main.py\n```python\nx = 1\n```",
    "no line '=======": "main.py\n<<<<<<< SEARCH\nx = 1\n",
    "no line '>>>>>>> REPLACE'": "main.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n",
    "before '======='": "main.py\n<<<<<<< SEARCH\nx\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE",
    "searches for nothing": block("", "x = 2", "main.py"),
    "is not closed": "main.py\n```python\nx = 1\n",
    "a fenced block is empty": "main.py\n```python\n\n```",
    "200001 characters": "x" * 200_001,
    "51 edits": block("x = 1", "x = 1", "main.py") * 51,
}


@pytest.mark.parametrize("words", HOSTILE)
def test_refused_when_read(words: str) -> None:
    with pytest.raises(EditError, match=words.replace(".", r"\.").replace("(", r"\(")):
        read(HOSTILE[words], list(TWO))


def test_refused_when_made() -> None:
    with pytest.raises(EditError, match="more than once"):
        made(ONE, block("    return a + b", "    return a - b"))
    with pytest.raises(EditError, match="150001 characters long"):
        apply(TWO, [Edit("main.py", None, "x" * 150_000)])


def test_hostile_sizes_take_no_time() -> None:
    files = {"a.py": "\n".join(["x"] * 40_000 + ["y"])}
    began = time.process_time()
    with pytest.raises(EditError):
        made(files, block("\n".join(["x"] * 20_000 + ["z"]), "w"))
    with pytest.raises(EditError):
        read("<<<<<<< SEARCH\n" * 10_000, ["a.py"])
    assert time.process_time() - began < 2.0


def test_done_and_diff() -> None:
    assert says_done("I am sure.\n**DONE**\n")
    assert not says_done("I am not DONE yet")
    assert diff(ONE, ONE) == ""
    shown = diff(TWO, made(TWO, block("y = 2", "y = 5", "help.py")))
    assert shown == "--- a/help.py\n+++ b/help.py\n@@ -1,2 +1,2 @@\n-y = 2\n+y = 5\n z = 3\n"


@given(st.text(alphabet="<>=SEARCHREPLACE`\n /.pyamin", max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        after = edits.apply(TWO, edits.read(text, list(TWO)))
    except EditError:
        return
    assert set(after) == set(TWO)
