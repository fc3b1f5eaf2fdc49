"""Floor 2: the store of runs and captures, and the prompt sets; the only floor that speaks DuckDB."""
