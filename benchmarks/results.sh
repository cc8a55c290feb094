#!/usr/bin/env bash
# Runs everything that docs/results.md reports; finished work is kept, interrupted work goes on.
# Usage: benchmarks/results.sh DATA_DIR [OUT]
set -euo pipefail
data=$1 out=${2:-runs}
settings=(--set encoding.precision=bf16 --data-dir "$data" --out "$out")
for method in none centre lir leace; do
  biasbench run xquad-r --recipe zero-shot --set debias=$method "${settings[@]}"
done
for recipe in hybrid mono cross mixed hybrid-hard hybrid-adversarial hybrid-perturbed hybrid-distilled; do
  biasbench run xquad-r --recipe "$recipe" --set robustness=true "${settings[@]}"
done
