"""Attention and what its pattern looks like (entropy, masses, distances, top keys) without ever holding the pattern."""

from kernels.attention_stats.dispatch import attention_stats
from kernels.attention_stats.merge import merge
from kernels.attention_stats.stats import AttentionStats

__all__ = ["AttentionStats", "attention_stats", "merge"]
