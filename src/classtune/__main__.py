"""``python -m classtune``."""

from classtune.cli import main

main()
