"""What a hidden state says about the next token: top-k, entropy, target ranks, KL, without ever holding all logits."""

from kernels.vocab_lens.naive import VocabLens
from kernels.vocab_lens.streamed import vocab_lens

__all__ = ["VocabLens", "vocab_lens"]
