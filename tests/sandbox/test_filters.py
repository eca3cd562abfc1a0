"""The filter program is well formed: jumps stay inside, every path ends in a verdict."""

from __future__ import annotations

import struct

import pytest

from ponder.sandbox.filters import ALLOW, EQUAL, LOAD, MASK, RETURN, bind, build

EPERM, ENOSYS = 0x00050001, 0x00050026
NEW_USER, THREAD = 0x10000000, 0x003D0F00


def verdict(program: bytes, number: int, *arguments: int, architecture: int = 0xC000003E) -> int:
    """What the filter says of a call."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        operation, yes, no, k = code[at]
        at += 1
        if operation == LOAD:
            value = struct.unpack_from("=I", data, k)[0]
        elif operation == MASK:
            value &= k
        elif operation == RETURN:
            return k
        else:
            true = value == k if operation == EQUAL else value >= k if operation == 0x35 else bool(value & k)
            at += yes if true else no


def test_verdicts_on_x86_64() -> None:
    program = bind(build(machine="x86_64"), 1234)
    assert program == build(1234, "x86_64")
    assert program is not None
    for allowed in (
        (0,),
        (257,),
        (62, 1234),
        (56, THREAD),
        (302, 0, 7, 0),
        (53, 1, 0x80801),
        (44, 3, 1, 1, 0, 0),
        (16, 0, 0x5401),
    ):
        assert verdict(program, *allowed) == ALLOW, allowed
    denied = [(59,), (57,), (41,), (62, 1), (62, (1 << 32) - 1), (56, 17), (56, NEW_USER), (272, NEW_USER), (101,)]
    denied += [
        (302, 0, 7, 1 << 40),
        (53, 1, 2),
        (53, 2, 1),
        (44, 3, 1, 1, 0, 1 << 40),
        (16, 0, 0x5412),
        (425,),
        (0x40000000,),
    ]
    for call in denied:
        assert verdict(program, *call) == EPERM, call
    assert verdict(program, 435) == ENOSYS
    assert verdict(program, 0, architecture=0x40000003) == 0x80000000


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_number_ends_in_a_verdict(machine: str) -> None:
    program = build(1, machine)
    assert program is not None and len(program) // 8 < 4096
    architecture = 0xC000003E if machine == "x86_64" else 0xC00000B7
    said = {verdict(program, number, architecture=architecture) for number in range(500)}
    assert said <= {ALLOW, EPERM, ENOSYS}


def test_an_unknown_machine_has_no_filter() -> None:
    assert build(1, "riscv64") is None
