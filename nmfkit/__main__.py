"""`python -m nmfkit`."""

from nmfkit.cli import main

main()
