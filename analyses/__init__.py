"""Floor 3: one public file is one analysis; pure functions from a model and its inputs to named frames and figures."""
