"""`python -m bias_bench` is `biasbench`."""

from bias_bench.cli import main

main()
