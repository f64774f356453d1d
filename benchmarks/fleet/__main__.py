"""`python -m benchmarks.fleet`."""

from benchmarks.fleet.report import main

main()
