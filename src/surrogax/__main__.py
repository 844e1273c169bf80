"""`python -m surrogax`: the command line."""

from .cli import main

main()
