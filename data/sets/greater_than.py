"""Greater-than: something that began in one year ends in a later one."""

from __future__ import annotations

import random
from collections.abc import Iterator

from data.sets._contract import LICENCE, Refusal, SetDefinition, words
from hooks.errors import InputError
from hooks.pairs import PromptPair, Tokenises

TEMPLATES = (
    "The {event} lasted from the year {start} to the year",
    "The {event} began in the year {start} and ended in the year",
    "The {event} started in {start} and finally ended in",
)
EVENTS = words("""
    war siege reign drought famine expedition voyage rebellion dispute project alliance campaign marriage friendship
    partnership negotiation plague treaty construction journey occupation revolt
""")
CENTURIES = range(12, 20)


def candidates(rng: random.Random, tokenizer: Tokenises) -> Iterator[PromptPair | Refusal]:
    """Endless pairs that differ in the decade of the start year only.

    The clean decade d and the corrupted decade c satisfy c + 1 < d ≤ 8, so decade c + 1 follows the corrupted start
    and precedes the clean one.
    """
    while True:
        low, high = rng.choice([(low, high) for low in range(7) for high in range(low + 2, 9)])
        century, unit = rng.choice(CENTURIES) * 100, rng.randint(1, 9)
        clean_start, corrupted_start = century + 10 * high + unit, century + 10 * low + unit
        later, earlier = clean_start + 10, corrupted_start + 10
        template, event = rng.choice(TEMPLATES), rng.choice(EVENTS)
        stems = [template.format(event=event, start=start) for start in (clean_start, corrupted_start)]
        label = f"{century}s"
        try:
            ending, answer, distractor = _stop_before_the_choice(tokenizer, stems[0], later, earlier)
        except InputError as error:
            pair = PromptPair(stems[0], stems[1], f" {later}", f" {earlier}", label)
            yield Refusal(pair, str(error), "no token boundary where the two end years part")
            continue
        yield PromptPair(stems[0] + ending, stems[1] + ending, answer, distractor, label)


def _stop_before_the_choice(tokenizer: Tokenises, stem: str, later: int, earlier: int) -> tuple[str, str, str]:
    """The start of the end year that both candidates share, and the first token of each where they part.

    Digit by digit, "… 17" then "8" or "3"; in pairs of digits, "… 17" then "82" or "32"; in triples, "… " then "178"
    or "173"; whole years, "…" then " 1782" or " 1732".
    """
    ids = [tokenizer.encode(f"{stem} {year}") for year in (later, earlier)]
    parts = next((i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b), 0)
    ending = "".join(tokenizer.str_tokens(ids[0][:parts])).removeprefix(stem)
    if parts == 0 or tokenizer.encode(stem + ending) != ids[0][:parts]:
        raise InputError(f"{stem + ending!r} does not end where the tokens of {later} and {earlier} part")
    answer, distractor = (tokenizer.str_tokens([one[parts]])[0] for one in ids)
    if [tokenizer.single_token(text) for text in (answer, distractor)] != [one[parts] for one in ids]:
        raise InputError(f"{answer!r} and {distractor!r} are other tokens alone than inside {later} and {earlier}")
    return ending, answer, distractor


SET = SetDefinition(
    name="greater_than",
    title="Greater-than",
    description=(
        "A start year is given and the prompt stops inside the end year, before the first token in which two end years "
        "part: the decade digit for a tokenizer that splits digits one by one, the last two digits for one that pairs "
        "them, and so on. The answer is ten years after the clean start; the distractor ten years after the corrupted "
        "start, which is impossible for the clean prompt because it lies before its start. Corrupted: an earlier start "
        "decade. There the distractor is right and the answer, though later, is possible too, so expect a corrupted "
        "difference nearer to zero than the clean one, not a mirror image. Label: the century."
    ),
    licence=LICENCE,
    paper="Hanna et al. 2023, How does GPT-2 compute greater-than?",
    templates=TEMPLATES,
    candidates=candidates,
)
