from __future__ import annotations

import pytest

from ponder import progress
from ponder.progress import Progress


def test_plain_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("title", live=False) as p:
        bar = p.bar("GRPO", total=2)
        bar.advance(reward="0.10")
        bar.advance(reward="0.61", tokens_per_s=7)
        p.note("a note")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "title"
    assert len(lines) == 3, "one line at the end of the bar, none for steps that follow each other at once"
    assert lines[1].startswith("GRPO 2/2 ")
    assert lines[1].endswith("reward 0.61  tokens per s 7")
    assert lines[2] == "a note"


def test_plain_lines_come_periodically(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    bar = Progress(live=False).bar("steps")
    for _ in range(25):
        now += 1.0
        bar.advance()
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["10", "20"]


def test_live_bars_print_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("title", live=True) as p:
        bar = p.bar("GRPO", total=2)
        bar.advance(2, reward="[0.61]")
        p.note("[bracketed]")
    out, err = capsys.readouterr()
    assert out == ""
    assert "GRPO" in err
    assert "2/2" in err
    assert "[bracketed]" in err


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    progress.set_quiet(True)
    try:
        with Progress("title", live=True) as p:
            p.bar("GRPO", total=1).advance()
            p.note("note")
    finally:
        progress.set_quiet(False)
    assert capsys.readouterr() == ("", "")
