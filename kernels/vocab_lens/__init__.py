"""What a hidden state says about the next token: top-k, entropy, target ranks, KL, without ever holding all logits."""

from kernels.vocab_lens.dispatch import vocab_lens
from kernels.vocab_lens.naive import VocabLens

__all__ = ["VocabLens", "vocab_lens"]
