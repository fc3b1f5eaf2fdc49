"""Two pairs that align in every model of these tests."""

from hooks.pairs import PromptPair

PAIR = PromptPair(
    "When John and Mary went to the store, John gave a drink to",
    "When John and Mary went to the store, Mary gave a drink to",
    " Mary",
    " John",
)
OTHER = PromptPair(
    "When Paul and Anna went to the park, Paul gave a book to",
    "When Paul and Anna went to the park, Anna gave a book to",
    " Anna",
    " Paul",
)
