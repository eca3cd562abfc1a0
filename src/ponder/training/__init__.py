"""Training: one batch, one objective, one loop; the algorithms differ in how they fill the batch.

Read in this order: `examples` (what is learned from), `batch` (the per-token streams and their two laws), `logprobs`,
`advantages`, `kl`, `objective` (pure functions), `loop` (optimise, log, checkpoint, resume), then the algorithms `pretrain`,
`sft` and `grpo`. Nothing heavy is imported here, so the workers that make examples start without torch.
"""
