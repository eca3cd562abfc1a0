"""Put a trained model into the package as bf16 weights, with the scores it has there.

    python tools/ship_weights.py runs/mini-base/model mini-base
    python tools/ship_weights.py runs/mini/model mini

The scores are measured on the shipped weights, greedily, on test problems that no training touched, and written to
`scores.json` beside them; `tests/test_weights.py` measures them again.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from ponder import efforts, engines, models
from ponder.evals.shipped import scores
from ponder.text import Tokenizer

WEIGHTS = Path(__file__).parent.parent / "src" / "ponder" / "weights"


def ship(source: str, name: str) -> dict[str, Any]:
    """Write the folder and return its scores."""
    folder = WEIGHTS / name
    shutil.rmtree(folder, ignore_errors=True)
    model = models.load(source, device="cpu", dtype=torch.bfloat16)
    models.save(model, folder, Tokenizer.load(source))
    levels = efforts.read(source)
    if levels:
        efforts.write(folder, levels)
    engine = engines.load(str(folder))
    found = scores(name, engine)
    (folder / "scores.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in ("mini", "mini-base"):
        sys.exit(__doc__)
    sys.stdout.write(json.dumps(ship(sys.argv[1], sys.argv[2]), indent=2) + "\n")
