"""Tokens into completions and pieces of text."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.engines.ticket import Ticket
from ponder.text import Tokenizer
from ponder.types import Completion, DoneEvent, Finish

MISSING = "\ufffd"  # what an unfinished character decodes to


def completion(
    tokenizer: Tokenizer | None,
    ticket: Ticket,
    ids: Sequence[int],
    logprobs: Sequence[float],
    forced: Sequence[bool],
    finish: Finish,
) -> DoneEvent:
    """The event that ends a request. Texts leave out the token it stopped at."""
    request = ticket.request
    done = assemble(
        tokenizer,
        request.prompt_ids,
        tuple(ids),
        tuple(logprobs),
        tuple(forced) if any(forced) else (),
        finish,
        opened=ticket.opened,
        problem_id=request.problem_id,
        request_id=request.id,
    )
    return DoneEvent(ticket.index, done)


def assemble(
    tokenizer: Tokenizer | None,
    prompt_ids: tuple[int, ...],
    ids: tuple[int, ...],
    logprobs: tuple[float, ...],
    forced: tuple[bool, ...],
    finish: Finish,
    *,
    opened: bool,
    problem_id: str = "",
    request_id: str = "",
) -> Completion:
    """A completion of `ids`, its texts decoded; `opened` says that the prompt ended inside the thinking."""
    text, thinking, answer = "", None, None
    if tokenizer is not None:
        stop = set(tokenizer.stop_ids)
        body = ids[:-1] if finish == "stop" and ids and ids[-1] in stop else ids
        parts = tokenizer.split(ids, opened=opened)
        text = tokenizer.decode(body)
        thinking = None if parts.thinking is None else tokenizer.decode(parts.thinking)
        answer = None if parts.answer is None else tokenizer.decode(parts.answer)
    return Completion(
        token_ids=ids,
        logprobs=logprobs,
        finish=finish,
        text=text,
        thinking=thinking,
        answer=answer,
        prompt_ids=prompt_ids,
        forced=forced,
        problem_id=problem_id,
        request_id=request_id,
    )


def speak(tokenizer: Tokenizer | None, ticket: Ticket, token_id: int) -> str:
    """The text one more token adds; held back while it ends in the middle of a character."""
    if tokenizer is None or token_id in tokenizer.stop_ids:
        return ""
    ticket.unspoken.append(token_id)
    text = tokenizer.decode(ticket.unspoken)
    if text.endswith(MISSING) and len(ticket.unspoken) < 8:
        return ""
    ticket.unspoken.clear()
    return text


def opens(tokenizer: Tokenizer | None, prompt_ids: Sequence[int]) -> bool:
    """Whether a prompt ends inside the thinking: its last think tag is an opening one."""
    if tokenizer is None or tokenizer.think_open is None or tokenizer.think_open not in prompt_ids:
        return False
    tags = (tokenizer.think_open, tokenizer.think_close)
    return next(i for i in reversed(prompt_ids) if i in tags) == tokenizer.think_open
