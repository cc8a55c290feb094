"""How often the tests and intervals of `bias_bench.significance` err, where the truth is known.

`python -m benchmarks.calibration --runs RUN RUN` takes the differences between two real runs, makes
"no difference" true in several ways (`worlds`), lets the package judge thousands of such data sets
(`errors`, `power`, `coverage`) and writes rates with their simulation error (`estimates`).
"""
