#!/usr/bin/env bash
# Variants to choose the recipes' settings by: trained on a part of MLQA-R and on NTREX, evaluated on
# the rest of MLQA-R, never on XQuAD-R. Finished work is kept. Give names to run some of them.
# Usage: benchmarks/tuning.sh DATA_DIR OUT [NAME...]
set -euo pipefail
data=$(realpath "$1") out=$2
shift 2
wanted=" $* "
mkdir -p "$out"
python -m benchmarks.development "$data" "$out"
rest=$(realpath "$out")/mlqa-r-rest
files=$(for l in ar de en es hi vi zh; do printf '%s: %s/%s.json, ' $l "$rest" $l; done)
training=(steps=100 batch_size=32 held_out=0 precision=float32
  "sources=[{form: squad, name: mlqa-r-rest, files: {$files}}, ntrex-128]")
variant() { # NAME RECIPE [SETTING...]
  local name=$1 recipe=$2 settings=(encoding.precision=float32)
  shift 2
  if [ "$wanted" != "  " ] && [[ $wanted != *" $name "* ]]; then return; fi
  if [ "$recipe" != zero-shot ]; then settings+=("${training[@]/#/training.}"); fi
  settings+=("$@")
  biasbench run "$out/mlqa-r-held-out" --recipe "$recipe" --name "$name" --data-dir "$data" \
    "${settings[@]/#/--set=}" --out "$out/runs" --reports "$out/reports"
}
terms=training.terms
adversary=$terms.language_adversary
mining=training.negatives.mining
variant zero-shot zero-shot
variant hybrid hybrid
variant chosen hybrid training.held_out=0.05 training.evaluate_every=20
variant hard hybrid-hard
variant adversary-1 hybrid-adversarial $adversary.strength=1
variant adversary-0.1 hybrid-adversarial $adversary.strength=0.1
variant adversary-10 hybrid-adversarial $adversary.strength=10
variant fgm-1 hybrid-perturbed $terms.perturbation.radius=1
variant fgm-3 hybrid-perturbed $terms.perturbation.radius=3
variant fgm-0.3 hybrid-perturbed $terms.perturbation.radius=0.3
variant hard-any hybrid-hard $mining.languages=any
variant hard-margin hybrid-hard $mining.relative_margin=0.15
variant bank-0.5 hybrid-bank $terms.negative_bank.weight=0.5
variant bank-0.1 hybrid-bank $terms.negative_bank.weight=0.1
variant distilled-1 hybrid-distilled $terms.distillation.weight=1
variant distilled-0.1 hybrid-distilled $terms.distillation.weight=0.1
