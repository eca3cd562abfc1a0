"""The filter program is well formed: jumps stay inside, every path ends in a verdict."""

from __future__ import annotations

import struct

import pytest

from ponder.sandbox import filters
from ponder.sandbox.filters import ALLOW, EQUAL, JUMP, LOAD, MASK, RETURN, bind, build, deny

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
        elif operation == JUMP:
            at += k
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


def test_becoming_another_program_needs_its_descriptor() -> None:
    plain, become = build(1, "x86_64"), build(1, "x86_64", become=True)
    assert plain is not None and become is not None
    assert verdict(become, 322, 3, 0, 0, 0, 0x1000) == ALLOW
    assert verdict(become, 322, 3, 0, 0, 0, 0) == verdict(plain, 322, 3, 0, 0, 0, 0x1000) == EPERM
    assert verdict(become, 59) == verdict(become, 56, 17) == EPERM


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_compilers_and_commands_are_denied(machine: str) -> None:
    program = deny(machine)
    assert program is not None
    architecture = 0xC000003E if machine == "x86_64" else 0xC00000B7
    names = ["clone", "prlimit64", "socketpair", "ioctl", "execve", "ptrace", "unshare", "socket"]
    column = (56, 302, 53, 16, 59, 101, 272, 41) if machine == "x86_64" else (220, 261, 199, 29, 221, 117, 97, 198)
    numbers: dict[str, int] = dict(zip(names, column, strict=True))

    def says(name: str, *arguments: int) -> int:
        return verdict(program, numbers[name], *arguments, architecture=architecture)

    assert says("execve") == says("clone", 17) == says("clone", THREAD) == says("prlimit64", 0, 3, 1) == ALLOW
    assert says("socketpair", 1, 1) == says("ioctl", 0, 0x5401) == ALLOW
    for name, *arguments in (
        ("ptrace",), ("unshare", NEW_USER), ("socket", 1, 1), ("clone", NEW_USER | 17), ("clone", 0x20000),
        ("prlimit64", 1, 7, 1), ("socketpair", 2, 1), ("ioctl", 0, 0x5412), ("ioctl", 0, 0x541C),
    ):  # fmt: skip
        assert says(name, *arguments) == EPERM, name
    assert verdict(program, 435, architecture=architecture) == ENOSYS
    assert says("execve", 0) == ALLOW and verdict(program, 0, architecture=0x40000003) == 0x80000000


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_search_by_halves_finds_every_number(machine: str, column: int) -> None:
    architecture = 0xC000003E if machine == "x86_64" else 0xC00000B7
    plain, denied = ({row[column] for row in table.values()} for table in (filters._PLAIN, filters._DENIED))
    checked = {row[column] for row in filters._CHECKED.values()}
    listed, unlisted = build(1, machine), deny(machine)
    assert listed is not None and unlisted is not None
    for number in (*range(600), 0x3FFFFFFF, 0x40000000, 0x40000001, 0x40000257, 0xFFFFFFFF):
        if number not in checked:
            expected = ALLOW if number in plain else EPERM
            assert verdict(listed, number, architecture=architecture) == expected, number
            expected = EPERM if number in denied or number >= 0x40000000 else ALLOW
            assert verdict(unlisted, number, architecture=architecture) == expected, number
