"""Prompt sets that ship: every public file here defines one set as `SET`, found by walking this folder."""
