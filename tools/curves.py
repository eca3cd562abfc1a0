"""Draw metrics of training runs over their steps, for the documentation.

    python tools/curves.py docs/figures/grpo.svg --percent eval_pass1_low,eval_pass1_medium,eval_pass1_high runs/qs*/grpo

One colour for each metric, one line for each run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ponder import evals
from ponder.evals.figures import COLOURS, Series, line_figure, standalone

STYLE = Path(evals.__file__).with_name("report.css")


def series(metrics: list[str], runs: list[str]) -> list[Series]:
    """A line for each metric of each run, labelled once for each metric."""
    found: list[Series] = []
    for run in runs:
        lines = Path(run, "metrics.jsonl").read_bytes().splitlines()
        rows = [msgspec.json.decode(line) for line in lines]
        for colour, metric in enumerate(metrics):
            kept = [row for row in rows if metric in row]
            label = metric.replace("_", " ") if run == runs[0] else ""
            found.append(Series(label, [r["step"] for r in kept], [r[metric] for r in kept], colour=colour))
    return found


def main(arguments: list[str]) -> None:
    percent = "--percent" in arguments
    words = [word for word in arguments if word != "--percent"]
    if len(words) < 3 or len(words[1].split(",")) > len(COLOURS):
        sys.exit(__doc__)
    out, metrics, runs = Path(words[0]), words[1].split(","), words[2:]
    named = "pass@1" if all("pass1" in metric for metric in metrics) else "share"
    label = metrics[0].replace("_", " ") if len(metrics) == 1 else named if percent else ""
    svg = line_figure(series(metrics, runs), x_label="step", y_label=label, name=out.stem, percent=percent)
    out.write_text(standalone(svg, STYLE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
