"""Where a part of a prompt lies among its tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from hooks.errors import InputError
from hooks.pairs import Tokenises

Which = Literal["only", "first", "last"]


def locate(model: Tokenises, prompt: str, text: str, which: Which = "only") -> tuple[int, ...]:
    """Positions of the tokens that spell a part of a prompt; white space at the ends of either does not count.

    Where the part occurs as whole words, other occurrences ("he" in "the") are passed over.

    Args:
        model: whose tokens; its tokenizer's offsets are used where it has them, else the text of growing prefixes.
        prompt: the whole prompt.
        text: the part looked for.
        which: "only" refuses a part that occurs more than once; "first" and "last" choose.

    Raises:
        InputError: an empty part, one that is not in the prompt, several under "only", or one that starts or ends
            inside a token; the part and the tokens are named.
    """
    wanted = text.strip()
    if not wanted:
        raise InputError(f"span {text!r} is empty: give a part of the prompt")
    starts = _occurrences(prompt, wanted)
    if not starts:
        raise InputError(f"span {text!r} is not in the prompt {prompt!r}")
    if len(starts) > 1 and which == "only":
        raise InputError(
            f"span {text!r} occurs {len(starts)} times in the prompt {prompt!r}; ask for the first or the last, or "
            "give a longer span"
        )
    start = starts[-1 if which == "last" else 0]
    return positions_inside(model, prompt, start, start + len(wanted))


def in_order(model: Tokenises, prompt: str, texts: Sequence[str]) -> list[tuple[int, int]]:
    """[first character, one after the last) of parts of a prompt, each looked for after the end of the one before.

    Raises:
        InputError: what `locate` refuses; a part that does not come after the one before it, which is named.
    """
    found: list[tuple[int, int]] = []
    after = 0
    for text in texts:
        wanted = text.strip()
        if not wanted:
            raise InputError(f"span {text!r} is empty: give a part of the prompt")
        starts = [one for one in _occurrences(prompt, wanted) if one >= after]
        # Whole words are preferred among what is left, not among what has been passed.
        starts = starts or [one for one in _anywhere(prompt, wanted) if one >= after]
        if not starts:
            place = f" after {prompt[:after][-30:]!r}: give the spans in the prompt's order" if found else ""
            raise InputError(f"span {text!r} is not in the prompt {prompt!r}{place}")
        positions_inside(model, prompt, starts[0], starts[0] + len(wanted))
        after = starts[0] + len(wanted)
        found.append((starts[0], after))
    return found


def positions_inside(model: Tokenises, prompt: str, start: int, end: int) -> tuple[int, ...]:
    """Positions of the tokens that spell these characters. Raises InputError when one of them is cut."""
    text, ids = prompt[start:end], model.encode(prompt)
    ranges = [_bare(prompt, *one) for one in token_ranges(model, prompt, ids)]
    inside = tuple(i for i, (first, last) in enumerate(ranges) if first < end and last > start)
    cut = [i for i in inside if ranges[i][0] < start or ranges[i][1] > end]
    if cut:
        said = " | ".join(model.str_tokens([ids[i] for i in inside]))
        where = f"token {cut[0]} ({model.str_tokens([ids[cut[0]]])[0]!r})"
        raise InputError(f"span {text!r} cuts through {where} of its tokens {said!r}; give a span of whole tokens")
    return inside


def token_ranges(model: Tokenises, prompt: str, ids: Sequence[int]) -> list[tuple[int, int]]:
    """[first character, one after the last) of every token; tokens that share a character all have it.

    Raises:
        InputError: the tokens do not spell the prompt, so that nothing in it can be found.
    """
    tokenizer: Any = getattr(model, "tokenizer", None)
    if getattr(tokenizer, "is_fast", False):
        found = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        if list(found["input_ids"]) == list(ids):
            return [(int(first), int(last)) for first, last in found["offset_mapping"]]
    return _ranges_of_prefixes(model, prompt, ids)


def _ranges_of_prefixes(model: Tokenises, prompt: str, ids: Sequence[int]) -> list[tuple[int, int]]:
    """The same from the text of ids[:1], ids[:2], …; one that ends inside a character counts as ending before it."""
    texts = [_decoded(model, ids[:count]) for count in range(len(ids) + 1)]
    if texts[-1] != prompt:
        raise InputError(f"the tokens of the prompt {prompt!r} spell {texts[-1]!r}: no span can be found in it")
    ends = [len(text) if prompt.startswith(text) else len(text.rstrip("\ufffd")) for text in texts]
    whole = [index for index, text in enumerate(texts) if prompt.startswith(text)]
    return [(ends[i], ends[next(end for end in whole if end > i)]) for i in range(len(ids))]


def _decoded(model: Tokenises, ids: Sequence[int]) -> str:
    decode = getattr(getattr(model, "tokenizer", None), "decode", None)
    if decode is None:
        return "".join(model.str_tokens(list(ids)))
    return str(decode(list(ids), clean_up_tokenization_spaces=False)) if ids else ""


def _occurrences(prompt: str, wanted: str) -> list[int]:
    """Where the text starts in the prompt: as whole words where it has them, else anywhere."""
    anywhere = _anywhere(prompt, wanted)
    return [at for at in anywhere if not _touched(prompt, at, at + len(wanted))] or anywhere


def _anywhere(prompt: str, wanted: str) -> list[int]:
    return [found.start() for found in re.finditer(f"(?={re.escape(wanted)})", prompt)]


def _touched(prompt: str, start: int, end: int) -> bool:
    """Whether a letter or digit goes on into the text at either end."""
    return any(bool(re.fullmatch(r"\w\w", prompt[max(0, at - 1) : at + 1])) for at in (start, end))


def _bare(prompt: str, first: int, last: int) -> tuple[int, int]:
    """The range without white space at its ends, unless it is nothing else."""
    text = prompt[first:last]
    if not text.strip():
        return first, last
    return first + len(text) - len(text.lstrip()), last - (len(text) - len(text.rstrip()))
