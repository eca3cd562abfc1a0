"""Prefill and decoding in C on a CPU: a whole step is one call.

Matrices are packed at `refresh` (a second copy of the weights); keys and values stay in the torch tensors of `KV`, whose
addresses are passed with every call because they can move. Every row is computed on its own with sums in one fixed order,
so its result depends neither on the batch it runs in nor on the number of threads, in bf16 too. Roundings are those of the
torch module. Not covered: devices other than the CPU, precisions other than fp32 and bf16.

Shapes: B rows, T tokens, V vocabulary, D width, H head width, I items (tokens of all rows).
"""

from __future__ import annotations

import ctypes
import weakref

import torch
from torch import Tensor, nn

from ponder.engines.native.build import BuildError, library
from ponder.engines.sampling import Knobs, draw
from ponder.errors import WorkError
from ponder.models import KV, Transformer
from ponder.models.transformer import FP32_HEAD_VOCAB, Block

PRECISIONS = (torch.float32, torch.bfloat16)
TEAM_BYTES = 64 << 20
"""Weights from which threads share every matrix instead of the rows. Below it, meeting after every matrix costs more than it
gains as soon as a processor is not ours alone: one row of an 11 M model took 0.6 ms on one thread, and 100 ms on two of a
machine with five busy processes."""
REFUSALS = {
    1: "a token outside the vocabulary",
    2: "a slot that does not exist",
    3: "a position without room",
    4: "memory",
}


class _Matrix(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("outputs", "inputs", "dot")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias")),
    ]


class _Block(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("attention_norm", "q_norm", "k_norm", "mlp_norm")),
        *((name, _Matrix) for name in ("qkv", "out", "gate", "up", "down")),
    ]


SIZES = ("vocab", "width", "layers", "heads", "kv_heads", "head", "hidden", "reach", "half", "embed_half", "head_half")


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in (*SIZES, "team")),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("embed", "norm", "cos", "sin", "blocks")),
        ("unembed", _Matrix),
    ]


def supports(model: Transformer) -> bool:
    """Whether the kernel can run this model, given a compiler."""
    matrix: Tensor = model.blocks[0].qkv.weight
    return all(p.device.type == "cpu" and p.dtype in PRECISIONS for p in model.parameters()) and all(
        block.qkv.weight.dtype == matrix.dtype for block in model.blocks
    )


class NativeStepper:
    """A `Stepper` in C. BuildError where `library()` gives none; see `supports` for which models."""

    dense = False

    def __init__(self, model: Transformer, kv: KV, threads: int | None = None) -> None:
        """`threads`: None means as many as torch uses."""
        found = library()
        if found is None:
            raise BuildError("there is no native kernel on this machine")
        assert supports(model), "the native kernel runs fp32 and bf16 on a CPU"
        self.model, self.kv, self._library = model, kv, found
        self._dot = bool(found.ponder_has_dot())
        self._handle = found.ponder_new(threads or torch.get_num_threads())
        if not self._handle:
            raise WorkError("out of memory for the native kernel")
        weakref.finalize(self, found.ponder_free, self._handle)
        self._kept: dict[str, Tensor] = {}  # what the structures below point into
        self._structure = _Model()
        self._blocks = (_Block * model.config.layers)()
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Pack the model's weights as they are now."""
        config, model, m = self.model.config, self.model, self._structure
        half = model.blocks[0].qkv.weight.dtype == torch.bfloat16
        head_half = config.vocab_size > FP32_HEAD_VOCAB and model.output_weight.dtype == torch.bfloat16
        sizes = (
            config.vocab_size,
            config.width,
            config.layers,
            config.heads,
            config.kv_heads,
            config.head,
            config.hidden,
        )
        switches = (m.reach, half, model.embed.weight.dtype == torch.bfloat16, head_half)
        for name, value in zip(SIZES, (*sizes, *switches), strict=True):
            setattr(m, name, int(value))
        m.eps = config.norm_eps
        m.embed = self._keep("embed", model.embed.weight.detach().contiguous())
        m.norm = self._padded("norm", model.norm.weight)
        for number, block in enumerate(model.blocks):
            self._pack_block(self._blocks[number], block, str(number))
        m.blocks = ctypes.addressof(self._blocks)
        m.unembed = self._pack("unembed", model.output_weight, head_half and self._dot)
        m.team = sum(x.numel() for name, x in self._kept.items() if name.endswith("packed")) > TEAM_BYTES

    def prefill(self, tokens_BT: Tensor, rows_B: Tensor, starts_B: Tensor, lengths_B: Tensor) -> None:
        """See `Stepper.prefill`."""
        offsets_T = torch.arange(tokens_BT.shape[1])
        valid_BT = offsets_T < lengths_B[:, None]
        positions_I = (starts_B[:, None] + offsets_T)[valid_BT]
        rows_I = rows_B[:, None].expand_as(valid_BT)[valid_BT]
        self._run(tokens_BT[valid_BT], rows_I, positions_I, None)

    def decode_step(self, tokens_B: Tensor, rows_B: Tensor, positions_B: Tensor) -> Tensor:
        """See `Stepper.decode_step`."""
        logits_BV = torch.empty(tokens_B.shape[0], self.model.config.vocab_size)
        self._run(tokens_B, rows_B, positions_B, logits_BV)
        return logits_BV

    def draw(self, logits_BV: Tensor, knobs: Knobs, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
        """What `sampling.draw` does; rows with cuts, and only those, are left to it."""
        B, V = logits_BV.shape
        tokens_B, logprobs_B = torch.empty(B, dtype=torch.int64), torch.empty(B)
        logits_BV, uniform_B = logits_BV.contiguous(), uniform_B.contiguous()
        assert logits_BV.dtype == torch.float32 and uniform_B.dtype == torch.float64
        assert knobs.temperature_B.shape == uniform_B.shape == (B,)
        refused = self._library.ponder_draw(
            logits_BV.data_ptr(),
            B,
            V,
            knobs.temperature_B.data_ptr(),
            None if knobs.greedy_B is None else knobs.greedy_B.data_ptr(),
            uniform_B.data_ptr(),
            tokens_B.data_ptr(),
            logprobs_B.data_ptr(),
        )
        if refused:
            raise WorkError(f"the native kernel was refused: {REFUSALS[refused]}")
        if (rows := knobs.cut) is not None:
            fields = (x[rows] for x in (knobs.temperature_B, knobs.top_k_B, knobs.top_p_B, knobs.min_p_B))
            some = Knobs(*fields, greedy_B=None, cut=torch.arange(rows.shape[0]), plain=False)
            tokens_B[rows], logprobs_B[rows] = draw(logits_BV[rows], some, uniform_B[rows])
        return tokens_B, logprobs_B

    def _run(self, tokens_I: Tensor, rows_I: Tensor, positions_I: Tensor, logits_IV: Tensor | None) -> None:
        kv, model, count = self.kv, self._structure, tokens_I.shape[0]
        if model.reach < kv.capacity:
            self._extend_angles(kv.capacity)
        items = [x.contiguous() for x in (tokens_I, rows_I, positions_I)]
        assert all(x.dtype == torch.int64 and x.shape == (count,) for x in items)
        assert kv.k.is_contiguous() and kv.v.is_contiguous() and kv.k.dtype == kv.v.dtype == PRECISIONS[model.half]
        refused = self._library.ponder_step(
            self._handle,
            ctypes.addressof(model),
            *(x.data_ptr() for x in items),
            count,
            kv.k.data_ptr(),
            kv.v.data_ptr(),
            kv.rows,
            kv.capacity,
            None if logits_IV is None else logits_IV.data_ptr(),
        )
        if refused:
            raise WorkError(f"the native kernel was refused: {REFUSALS[refused]}")

    def _extend_angles(self, reach: int) -> None:
        cos, sin = (x[0, :, 0].contiguous() for x in self.model.angles(torch.arange(reach)[None]))
        self._structure.cos, self._structure.sin = self._keep("cos", cos), self._keep("sin", sin)
        self._structure.reach = reach

    def _keep(self, name: str, tensor: Tensor) -> int:
        self._kept[name] = tensor
        return tensor.data_ptr()

    def _padded(self, name: str, vector: Tensor | None) -> int | None:
        """Address of an fp32 copy with zeros up to a multiple of 16."""
        if vector is None:
            return None
        copy = torch.zeros(-(-vector.shape[0] // 16) * 16)
        copy[: vector.shape[0]] = vector.detach()
        return self._keep(name, copy)

    def _pack_block(self, packed: _Block, block: Block, name: str) -> None:
        dot = self._structure.half and self._dot
        packed.attention_norm = self._padded(f"{name}.attention_norm", block.attention_norm.weight)
        packed.mlp_norm = self._padded(f"{name}.mlp_norm", block.mlp_norm.weight)
        for kind in ("q_norm", "k_norm"):
            layer = getattr(block, kind)
            setattr(packed, kind, self._padded(f"{name}.{kind}", None if layer is None else layer.weight))
        gate, up = block.gate_up.weight.chunk(2)
        matrices = {"out": block.out.weight, "gate": gate, "up": up, "down": block.down.weight}
        packed.qkv = self._pack(f"{name}.qkv", block.qkv.weight, dot, block.qkv)
        for kind, weight in matrices.items():
            setattr(packed, kind, self._pack(f"{name}.{kind}", weight, dot))

    def _pack(self, name: str, weight: Tensor, dot: bool, layer: nn.Linear | None = None) -> _Matrix:
        outputs, inputs = weight.shape
        source = weight.detach().contiguous()
        size, kept = self._library.ponder_packed_bytes(outputs, inputs, dot), self._kept.get(f"{name}.packed")
        to = kept if kept is not None else torch.empty(size, dtype=torch.uint8)
        half = source.dtype == torch.bfloat16
        self._library.ponder_pack(to.data_ptr(), source.data_ptr(), half, outputs, inputs, dot)
        bias = None if layer is None else self._padded(f"{name}.bias", layer.bias)
        return _Matrix(outputs, inputs, int(dot), self._keep(f"{name}.packed", to), bias)
