#!/usr/bin/env bash
# Runs what docs/results.md reports; finished work is kept, interrupted work goes on. The systems of
# the second part stand beside each other in one table; give their names to run some of them.
# Usage: benchmarks/results.sh DATA_DIR [OUT [NAME...]]
set -euo pipefail
data=$1 out=${2:-runs}
shift $(($# < 2 ? $# : 2))
wanted=" $* "
# every system takes the same steps: none is held to the checkpoint that happens to validate best
same=(encoding.precision=float32 training.precision=float32 training.held_out=0)
system() { # NAME RECIPE [SETTING...]
  local name=$1 recipe=$2
  shift 2
  if [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]]; then
    biasbench run xquad-r --recipe "$recipe" --name "$name" --data-dir "$data" --out "$out" "${@/#/--set=}"
  fi
}
for method in none centre lir leace; do
  system "zero-shot-$method" zero-shot debias=$method encoding.precision=float32
done
for recipe in mono cross mixed; do
  system "$recipe" "$recipe" "${same[@]}"
done
# hard negatives and the adversary, each alone and both; both with other negatives; another adversary
more=("${same[@]}" robustness.topics=300)
system hybrid hybrid "${more[@]}"
system hybrid-hard hybrid-hard "${more[@]}"
system hybrid-adversarial hybrid-adversarial "${more[@]}"
system adversary-alone hybrid-adversarial training.negatives=null "${more[@]}"
system adversarial-balanced hybrid-adversarial training.negatives.mining.languages=balanced "${more[@]}"
system hybrid-perturbed hybrid-perturbed "${more[@]}"
