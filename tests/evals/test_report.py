"""The page: self-contained, escaped, well-formed, and saying what report.json says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from eval_fakes import CoinEngine, Doubling

from ponder.evals import figures, report, report_data, report_figures, traces
from ponder.evals.attempts import AttemptStore
from ponder.evals.runner import Plan, evaluate
from ponder.types import Problem, Sampling, Step

TASK = Doubling()
PROBLEMS = TASK.problems("test", 30)
HOSTILE = "<script>alert(1)</script>&\x00\"'"
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.seen.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def data() -> dict:
    store, efforts = AttemptStore(), ("low", "medium", "high")
    skills = {"sft": {"low": 0.2, "medium": 0.4, "high": 0.5}, "rl": {"low": 0.5, "medium": 0.7, "high": 0.9}}
    models = []
    for name, skill in skills.items():
        plan, greedy = Plan(tuple(PROBLEMS), 8, efforts), Plan(tuple(PROBLEMS), 1, efforts, Sampling(temperature=0.0))
        rows = [evaluate(CoinEngine(skill), TASK, p, store, model=name).rows for p in (plan, greedy)]
        models.append(report_data.ModelRows(name, f"after {name}", *rows))
    part = report_data.part_block(TASK, PROBLEMS, models, "medium", 8)
    grpo = [{"step": i, "reward": i / 20, "entropy": 1 - i / 40, "kl": 0.01} for i in range(20)]
    for row in grpo[::5]:
        row |= {"eval_pass1": 0.5, "eval_pass1_interval": [0.4, 0.6], "eval_pass1_low": 0.3}
    return {
        "title": f"title {HOSTILE}",
        "eyebrow": "eyebrow",
        "lead": [f"lead {HOSTILE}"],
        "parts": [part, part | {"task": "<again>"}],
        "headline": report_data.headline(part["models"], "medium"),
        "training": {"grpo": grpo, "sft": []},
        "planted": [f"noise {HOSTILE}"],
        "config": {"note": HOSTILE},
        "versions": {"torch": "2"},
        "commit": "abc",
        "timings": {"sft": 1.5},
        "gain": report_data.gain(models[0].sampled, models[1].sampled, "medium"),
    }


@pytest.fixture(scope="module")
def page(data: dict) -> str:
    return report.render(data)


def test_page_is_well_formed_and_needs_nothing_else(page: str) -> None:
    checker = Balance()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert not {"script", "link", "img", "iframe"} & set(checker.seen)
    assert not re.search(r"(src|href)=\"(?!#)", page.replace("xlink:", ""))
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)


def test_hostile_text_stays_text(page: str) -> None:
    assert "<script" not in page
    assert "\x00" not in page
    assert page.count("&lt;script&gt;alert(1)") == 5  # title twice, lead, planted, config
    assert "<b>?" not in page  # the engine's thinking holds <b>
    assert "&lt;b&gt;" in page


def test_page_shows_the_numbers_of_the_data(data: dict, page: str) -> None:
    checker = Balance()
    checker.feed(page)
    words = " ".join(checker.words)
    for key in ("pass1_sft", "pass1_rl", "cons8_rl", "pass8_rl", "greedy_sft"):
        assert report.percent(data["headline"][key]) in words
    low, high = data["headline"]["intervals"]["pass1_rl"]
    assert f"{100 * low:.1f} – {100 * high:.1f}" in words


def test_the_same_data_gives_the_same_page(data: dict, page: str) -> None:
    assert report.render(data) == page


def test_curves_only_for_what_was_logged(data: dict) -> None:
    titles = [figure.title for figure in report_figures.training(data)]
    assert titles == [
        "Reward while training",
        "Held-out pass@1",
        "Held-out pass@1 by effort",
        "Entropy",
        "Distance and clipping",
    ]
    assert report_figures.training({"training": {"grpo": [], "sft": []}}) == []


def test_one_model_without_efforts_or_training_has_a_page_too() -> None:
    rows = evaluate(CoinEngine(), TASK, Plan(tuple(PROBLEMS), 1), AttemptStore(), model="m").rows
    part = report_data.part_block(TASK, PROBLEMS, [report_data.ModelRows("m", "m", rows, [])], "none", 1)
    page = report.render({"title": "t", "eyebrow": "e", "lead": [], "parts": [part], "config": {}})
    checker = Balance()
    checker.feed(page)
    assert checker.open == []
    assert "Training" not in checker.words


def test_gain_is_paired(data: dict) -> None:
    difference = data["headline"]["pass1_rl"] - data["headline"]["pass1_sft"]
    assert data["gain"]["mean"] == pytest.approx(difference)
    assert data["gain"]["low"] < difference < data["gain"]["high"]


def test_figure_follows_the_page() -> None:
    one = figures.Series("a < b & c", [1, 2, 4], [0.1, 0.5, 0.9], [0.0, 0.4, 0.8], [0.2, 0.6, 1.0])
    svg = figures.line_figure(
        [one, figures.Series("d", [1, 2], [0.2, 0.3], colour=1)], x_label="k", y_label="p", name="f", doubling=True
    )
    assert not re.findall(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", svg)
    assert {"var(--c1)", "var(--c2)", "var(--grid)", "var(--muted)"} <= set(re.findall(r"var\([^)]*\)", svg))
    assert "a &lt; b &amp; c" in svg
    assert all(i.startswith("f-") for i in re.findall(r'\bid="([^"]+)"', svg))
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_pieces_hold_all_of_the_thinking() -> None:
    steps = [Step("1+1=2", True, True), Step("lost", True), Step("2+2=5", False, False, "2+2 is 4")]
    thinking = "so 1+1=2;\n2+2=5!\n"
    found = traces.pieces(thinking, steps)
    assert "".join(piece["text"] for piece in found) == thinking
    assert [piece.get("sound") for piece in found] == [None, True, None, False, None]


def test_traces_are_chosen_by_rule() -> None:
    problems = [Problem.from_text(str(i)) for i in range(4)]
    store = AttemptStore()
    before = evaluate(CoinEngine(), TASK, Plan(tuple(PROBLEMS), 2), store, model="a").rows
    after = evaluate(CoinEngine({"": 1.0}), TASK, Plan(tuple(PROBLEMS), 2), store, model="b").rows
    found = traces.compare_traces(PROBLEMS, before, after, TASK.steps)
    first = {r.problem: r.correct for r in before if r.attempt == 0}
    assert found["counts"]["became right"] == sum(not good for good in first.values())
    assert found["counts"]["became wrong"] == found["counts"]["stayed wrong"] == 0
    wrong = [p.id for p in PROBLEMS if not first[p.id]][:3]
    assert [t["problem"]["id"] for t in found["shown"] if t["change"] == "became right"] == wrong
    assert traces.compare_traces(problems, before, after, None)["shown"] == []
