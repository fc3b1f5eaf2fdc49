"""The toys' tokenizer: byte-level BPE trained on the words of `toy_words`; any text round-trips, nothing is added."""

from __future__ import annotations

from pathlib import Path

from hooks.checkpoints.toy_words import training_lines

END = "<|end|>"
_MOST_TOKENS = 2000


def make_tokenizer():  # type: ignore[no-untyped-def]  # a transformers PreTrainedTokenizerFast
    """A fast tokenizer with at most 2,000 tokens, the same on every machine; `<|end|>` is token 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_MOST_TOKENS,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(training_lines(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )


def save_tokenizer(folder: Path) -> int:
    """Write the tokenizer's files into `folder`; returns the number of tokens."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    return len(tokenizer)
