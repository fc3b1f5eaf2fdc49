"""`python -m interp` is the same as `interp`."""

from interp.cli import main

main()
