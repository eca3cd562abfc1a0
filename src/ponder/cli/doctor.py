"""`ponder doctor`: is this machine ready? Each check is one line with what was found and, when bad, what to do.

The check that matters most is the last: the log-probabilities the sampler reported must equal those the trainer
computes for the same tokens, or reinforcement learning optimises something else than it samples.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ponder.config import Config
from ponder.errors import ConfigError

MINIMUM = {"torch": (2, 9), "numpy": (1, 26), "tokenizers": (0, 20), "msgspec": (0, 19)}
FREE_GB = 2.0


class DoctorConfig(Config):
    """Settings of `ponder doctor`."""

    model: Annotated[str, Meta(min_length=1)] = "mini"
    """Model whose sampler and trainer are compared."""
    tolerance: Annotated[float, Meta(gt=0)] = 1e-3
    """Largest allowed difference of log-probabilities in fp32."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Of the completions that are compared."""
    sandbox: bool = False
    """Only attack the sandbox for untrusted code, and say which level held."""
    remote: str | None = None
    """With --sandbox: attack the pool at host:port (`ponder sandbox serve`) and not this machine's sandbox. Its token is in the
    file that PONDER_SANDBOX_TOKEN_FILE names."""
    out: str | None = None
    """Also write the JSON result to this file."""


def run(config: DoctorConfig) -> dict[str, Any]:
    """Every check; `ok` is False when one failed."""
    if config.remote is not None and not config.sandbox:
        raise ConfigError("remote: a pool is attacked with --sandbox --remote HOST:PORT")
    if config.sandbox:
        from ponder.sandbox import doctor

        result = doctor.report(config.remote)
    else:
        checks = [_python(), *_packages(), _threads(), _bf16(), _accelerator(), _kernel(), _disk(), agreement(config)]
        result = {"ok": all(check["ok"] for check in checks), "checks": checks}
    if config.out is not None:
        from ponder.files import encode, write_atomic

        write_atomic(config.out, encode(result) + b"\n")
    return result


def show(result: dict[str, Any]) -> str:
    """One line per check."""
    wide = max(20, *(len(c["name"]) for c in result["checks"]))
    rows = [f"{'ok  ' if c['ok'] else 'BAD '} {c['name']:<{wide}} {c['found']}" for c in result["checks"]]
    if "level" in result:
        held = f"sandbox level {result['level']}" if result["level"] else "no sandbox level holds"
        return "\n".join(
            [*rows, "", held if result["ok"] else f"{held}; not as it should be: see the lines marked BAD"]
        )
    return "\n".join([*rows, "", "ready" if result["ok"] else "not ready: see the lines marked BAD"])


def _check(name: str, ok: bool, found: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found, **more}


def _python() -> dict[str, Any]:
    return _check("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}")


def _packages() -> list[dict[str, Any]]:
    from ponder.runs import versions

    found = versions()
    rows: list[dict[str, Any]] = []
    for name, least in MINIMUM.items():
        text = found.get(name, "none")
        parts = tuple(int(p) for p in text.split("+")[0].split(".")[:2] if p.isdigit())
        good = parts >= least
        rows.append(_check(name, good, text if good else f"{text}: at least {'.'.join(map(str, least))} is needed"))
    return rows


def _threads() -> dict[str, Any]:
    import torch

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    hint = (
        f": more than the {allowed} cores; set OMP_NUM_THREADS={allowed}"
        if threads > allowed
        else f" of {allowed} cores"
    )
    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    return _check("threads", threads <= allowed, f"{threads}{hint}, OMP_WAIT_POLICY {policy}", threads=threads)


def _bf16() -> dict[str, Any]:
    import torch

    from ponder.engines.local import fast_dtype

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported()
    else:
        native = fast_dtype(torch.device("cpu")) is torch.bfloat16
    return _check("bf16", True, "fast" if native else "emulated: fp32 may be faster here (--dtype fp32)", fast=native)


def _accelerator() -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        return _check("accelerator", True, f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda})")
    return _check("accelerator", True, "none: everything runs on the CPU")


def _kernel() -> dict[str, Any]:
    """The native kernel is compiled here and now when it has not been yet."""
    from ponder.engines.native.build import BuildError, build

    if os.environ.get("PONDER_NATIVE", "1") == "0":
        return _check("native kernel", True, "switched off by PONDER_NATIVE=0: pure torch decodes, only slower")
    try:
        build()
    except (BuildError, OSError) as error:
        return _check("native kernel", True, f"none ({error}): pure torch decodes, only slower")
    return _check("native kernel", True, "compiled")


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return _check(
        "disk", free >= FREE_GB, f"{free:.1f} GB free here" + ("" if free >= FREE_GB else ": free some space")
    )


def agreement(config: DoctorConfig) -> dict[str, Any]:
    """Sampled log-probabilities against the trainer's forward pass over the same tokens, in fp32 and in bf16 if fast.

    fp32 must agree to `tolerance` everywhere. bf16 rounds differently in different batch shapes, so there the mean
    difference is held to ten times that and the largest is only told.
    """
    from ponder.errors import PonderError

    name = "sampler = trainer"
    try:
        gaps = {dtype: _gaps(config, dtype) for dtype in (["fp32", "bf16"] if _bf16()["fast"] else ["fp32"])}
    except PonderError as error:
        return _check(name, False, str(error))
    largest, tokens = max(gaps["fp32"]), len(gaps["fp32"])
    found = f"largest gap {largest:.1e} in fp32"
    good = largest <= config.tolerance
    if "bf16" in gaps:
        mean = sum(gaps["bf16"]) / len(gaps["bf16"])
        found += f", in bf16 {mean:.1e} on average and {max(gaps['bf16']):.1e} at most"
        good = good and mean <= 10 * config.tolerance
    return _check(name, good, f"{found}, over {tokens} tokens of {config.model}", gap=largest, tokens=tokens)


def trainer_model(folder: str) -> Any:
    """The weights as training holds them: fp32."""
    import torch

    from ponder import models

    return models.load(folder, dtype=torch.float32)


def _gaps(config: DoctorConfig, dtype: str, samples: int = 16) -> list[float]:
    """|sampler - trainer| of every sampled token at temperature 1."""
    import torch

    from ponder import engines
    from ponder.types import Message, Request, Sampling

    engine = engines.load(config.model, dtype=dtype)
    if engine.path is None:
        raise ConfigError(f"{config.model}: has no weights to compare")
    prompt = engine.encode([Message("user", "a=7+5;b=a*3;b?")])
    most = max(1, min(64, engine.context - len(prompt)))
    requests = [Request(prompt, Sampling(max_tokens=most, seed=config.seed + k), str(k)) for k in range(samples)]
    done = engine.generate(requests)
    model = trainer_model(engine.path).eval()
    gaps: list[float] = []
    for completion in done:
        tokens_BT = torch.tensor([[*prompt, *completion.token_ids]])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            logprobs_TV = model(tokens_BT)[0].float().log_softmax(-1)
        again = logprobs_TV[len(prompt) - 1 : -1].gather(1, tokens_BT[0, len(prompt) :, None])[:, 0].tolist()
        forced = completion.forced or (False,) * len(again)
        rows = zip(completion.logprobs, again, forced, strict=True)
        gaps += [abs(said - there) for said, there, skip in rows if not skip]
    return gaps
