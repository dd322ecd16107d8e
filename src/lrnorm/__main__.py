"""`python -m lrnorm` is the command."""

from lrnorm.cli import main

raise SystemExit(main())
