"""TensorBoard and trackio, imported only when asked for. metrics.jsonl is written in any case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ponder.errors import ConfigError


class TensorBoard:
    """Scalars under `RUN/tensorboard`."""

    def __init__(self, path: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "log = 'tensorboard': the package tensorboard is not installed; pip install tensorboard"
            ) from None
        self._writer: Any = SummaryWriter(str(path / "tensorboard"))

    def __call__(self, row: dict[str, float], step: int) -> None:
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Trackio:
    """A trackio run named like the run directory."""

    def __init__(self, path: Path) -> None:
        try:
            import trackio  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError("log = 'trackio': the package trackio is not installed; pip install trackio") from None
        self._trackio: Any = trackio
        trackio.init(project="ponder", name=path.name)

    def __call__(self, row: dict[str, float], step: int) -> None:
        self._trackio.log({k: v for k, v in row.items() if k != "step"}, step=step)

    def close(self) -> None:
        self._trackio.finish()


SINKS: dict[str, Callable[[Path], Any]] = {"tensorboard": TensorBoard, "trackio": Trackio}
