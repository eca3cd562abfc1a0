"""`ponder doctor --sandbox`: attacks, their ends, and the level that held."""

from __future__ import annotations

import ctypes
import json
import sys

import pytest

from ponder import cli
from ponder.sandbox import Job, Result, Sandbox, doctor, filters
from ponder.sandbox.box import held


@pytest.mark.slow
def test_every_attack_comes_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--sandbox", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] and result["level"] == max(name for name in ("L1", "L2", "L3") if not held(name))
    rows = {check["name"]: check["found"] for check in result["checks"]}
    assert len(rows) >= 3 + len(doctor.ATTACKS)
    if result["level"] == "L3":
        assert rows["level L3"] == "holds" and rows["a command leaves processes"] == "ok"
        assert rows.get("C++ never ends", "timeout") == "timeout"


def test_a_disturbed_neighbour_is_noticed() -> None:
    class Leaky(Sandbox):
        def __init__(self) -> None:
            pass

        def run(self, jobs: object) -> list[Result]:
            return [Result("ok", 41), Result("timeout"), Result("ok", 41, stdout="left over")]

        def close(self) -> None:
            pass

    row = doctor._attack(Leaky(), "never ends", doctor._called("while True: pass"), "timeout")
    assert not row["ok"]
    assert "disturbed" in row["found"]
    assert isinstance(doctor.NEIGHBOUR, Job)


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock needs Linux")
def test_level_two_holds_where_the_kernel_has_its_layers() -> None:
    """The tests of L2 are skipped where it does not hold; a fault of ours must not be what skips them."""
    version = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
    if version < 1 or filters.build() is None:
        pytest.skip("this kernel has no Landlock, or no filter is known for this machine")
    assert held("L2") == ""
