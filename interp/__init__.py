"""Floor 4: the public API. A script starts with `from interp.workbench import Workbench`."""
