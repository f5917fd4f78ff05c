#!/usr/bin/env bash
# Trains lenet on the handwritten digits that come with scikit-learn, fine-tunes a new last layer from
# that checkpoint, and evaluates both. Nothing is downloaded except the packages.
#
#   scripts/quickstart.sh             into runs/quickstart
#   scripts/quickstart.sh some/where
#
# It takes less than three minutes on two CPU cores, after the installation. A finished run is not
# trained again: remove the directory to start over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=${1:-runs/quickstart}
common=(--dataset_name=digits --model_name=lenet --optimizer=momentum --learning_rate=0.02
  --learning_rate_decay_type=cosine)

scripts/setup_env.sh
python=.venv/bin/python
# TensorFlow logs missing GPUs and AVX-512 as errors; real errors are raised as exceptions anyway.
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}

say() {
  printf '\n== %s\n' "$*"
}

evaluate() {
  "$python" eval_image_classifier.py --checkpoint_path="$1" --eval_dir="$1/eval" \
    --dataset_name=digits --dataset_split_name=validation
}

say "1. Train lenet from scratch, into $runs/scratch"
"$python" train_image_classifier.py --train_dir="$runs/scratch" "${common[@]}" --epochs=5

say "2. Fine-tune a new last layer from that checkpoint, into $runs/finetuned"
"$python" train_image_classifier.py --train_dir="$runs/finetuned" "${common[@]}" --epochs=2 \
  --checkpoint_path="$runs/scratch" --checkpoint_exclude_scopes=LeNet/fc4 \
  --trainable_scopes=LeNet/fc4

say '3. Evaluate the network trained from scratch'
evaluate "$runs/scratch"

say '4. Evaluate the fine-tuned network'
evaluate "$runs/finetuned"
