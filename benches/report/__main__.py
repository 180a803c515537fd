"""`python -m benches.report DIR`: one page with everything in it."""

from .page import main

main()
