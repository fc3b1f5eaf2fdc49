"""Chosen rows and heads of an attention pattern, recomputed on demand from q and k."""

from kernels.attention_rows.chosen import attention_rows

__all__ = ["attention_rows"]
