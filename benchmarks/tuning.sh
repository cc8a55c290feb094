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
# what a trained variant makes of perturbed questions
robust() { # NAME
  if [ "$wanted" != "  " ] && [[ $wanted != *" $1-robust "* ]]; then return; fi
  biasbench run "$out/mlqa-r-held-out" --recipe zero-shot --backbone "$out/runs/$1/model" \
    --name "$1-robust" --set encoding.precision=float32 --set robustness=true \
    --out "$out/runs" --reports "$out/reports"
}
terms=training.terms
adversary=$terms.language_adversary
mining=training.negatives.mining
variant zero-shot zero-shot
variant hybrid hybrid
variant chosen hybrid training.held_out=0.05 training.evaluate_every=20
variant hard hybrid-hard $mining.languages=balanced
for strength in 0.1 1 10; do
  variant adversary-$strength hybrid-adversarial $adversary.strength=$strength $mining.languages=balanced
done
for radius in 1 0.3 0.1 0.03; do
  variant fgm-$radius hybrid-perturbed $terms.perturbation.radius=$radius
done
for languages in any cross same; do
  variant hard-$languages hybrid-hard $mining.languages=$languages
done
variant same-margin hybrid-hard $mining.relative_margin=0.15
for weight in 0.5 0.1 0.02; do
  variant bank-$weight hybrid-bank $terms.negative_bank.weight=$weight
done
for weight in 1 0.1; do
  variant distilled-$weight hybrid-distilled $terms.distillation.weight=$weight
done
variant distilled-strong hybrid-distilled $adversary.strength=1
for name in hybrid hard adversary-0.1 adversary-1 fgm-1 fgm-0.3 fgm-0.1 fgm-0.03; do robust "$name"; done
