"""`ponder label --how mutation` on a file of programs, in the sandbox: counts, resuming, what is refused."""

from __future__ import annotations

import json

import pytest

from ponder import config
from ponder.cli.label import LabelConfig, run, show
from ponder.engines import ScriptedEngine
from ponder.errors import ConfigError
from ponder.evals import measure
from ponder.verifiers import samples

PROGRAMS = {
    "Write double(x).": (
        "def double(x):\n    y = x + x\n    return y\n",
        "assert double(3) == 6\nassert double(0) == 0",
    ),
    "Write clip(x).": (
        "def clip(x):\n    if x > 5:\n        x = 5\n    return x\n",
        "assert clip(9) == 5\nassert clip(2) == 2\nassert clip(5) == 5",
    ),
    "Write late(x).": ("def late(x):\n    return x\n", "assert late(1) == 2"),
    "Write loops(n).": (
        "def loops(n):\n    while n > 0:\n        n -= 1\n    return n\n",
        "assert loops(3) == 0",
    ),
}


@pytest.fixture
def programs(tmp_path):
    path = tmp_path / "programs.jsonl"
    lines = [
        {"question": q, "answer": {"asserts": tests}, "completion": f"```python\n{code}```"}
        for q, (code, tests) in PROGRAMS.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def task(programs, monkeypatch):
    from ponder import tasks
    from ponder.tasks.files import FileTask

    columns = {"question": "question", "reference": "answer", "completion": "completion"}
    made = FileTask(f"{programs}#train", columns=columns, grader="code", name="programs")
    monkeypatch.setattr(tasks, "get", lambda name, **options: made)
    return made


def settings(out, **changes):
    given = {
        "task": "programs",
        "how": "mutation",
        "mutants": 4,
        "faults": 1,
        "seconds": 0.05,
        "out": str(out),
        **changes,
    }
    return config.load(LabelConfig, None, given)


def test_labels_from_the_sandbox_go_on_where_they_stopped(task, tmp_path):
    whole = run(settings(tmp_path / "whole.jsonl", problems=4))
    assert (whole["references"], whole["failing"], whole["unread"], whole["unknown"]) == (4, 1, 0, 0)
    assert whole["correct"] == 3 < whole["samples"] <= 15 - whole["survived"]
    assert whole["kind"] == "correctness" and not any(whole["tokens"].values())
    assert "1 references that fail their own tests" in show(whole)
    rows = list(samples.read(tmp_path / "whole.jsonl"))
    assert {row.split for row in rows} == {"train"} and all(row.labels[0] == 1.0 for row in rows if row.correct)
    assert all(row.labels[-1] == 0.0 for row in rows if not row.correct)

    first = run(settings(tmp_path / "parts.jsonl", problems=2, batch=1))
    again = run(settings(tmp_path / "parts.jsonl", problems=4, batch=1))
    assert (first["problems"], again["problems"], again["resumed"]) == (2, 4, 2)
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="other settings"):
        run(settings(tmp_path / "parts.jsonl", faults=2))


def test_what_can_not_be_labelled_so(tmp_path):
    with pytest.raises(ConfigError, match="task 'chain' has no reference programs"):
        run(settings(tmp_path / "x.jsonl", task="chain"))
    with pytest.raises(ConfigError, match="'correctness'"):
        run(settings(tmp_path / "x.jsonl", task="chain", kind="value"))


class Reader(ScriptedEngine):
    def logprobs(self, token_ids):
        return [[-float(i) for i in range(len(ids))] for ids in token_ids]


def test_a_reader_gives_the_rows_its_log_probabilities(task, tmp_path, monkeypatch):
    plain, read = tmp_path / "plain.jsonl", tmp_path / "read.jsonl"
    run(settings(plain, problems=2))
    reader = Reader({})
    monkeypatch.setattr(measure, "open_engine", lambda *_: reader)
    found = run(settings(read, problems=2, reader="scripted:x"))
    rows = list(samples.read(read))
    for before, row in zip(samples.read(plain), rows, strict=True):
        assert reader.tokenizer.decode(row.token_ids[:-1]) == "".join(before.texts) and row.labels == before.labels
        assert row.token_ids[-1] in reader.tokenizer.stop_ids and len(row.starts) == len(row.labels)
        start = len(row.prompt_ids)
        assert row.prompt_ids == tuple(reader.encode(row.messages, None))
        assert row.logprobs == tuple(-float(i) for i in range(start, start + len(row.token_ids)))
    assert found["samples"] == len(rows) > 2
    with pytest.raises(ConfigError, match="no tokenizer"):
        samples.read_by(type("Blind", (), {"name": "blind"})(), rows)
    with pytest.raises(ConfigError, match="--reader is for --how mutation"):
        run(settings(tmp_path / "exact.jsonl", how="exact", reader="mini"))
