#!/usr/bin/env bash
# The main job on data that need no download, the handwritten digits inside scikit-learn: trains
# lenet from scratch, fine-tunes a new last layer from that checkpoint, evaluates both.
#
#   scripts/quickstart.sh             into runs/quickstart
#   scripts/quickstart.sh some/where
#
# Two CPU cores need less than three minutes after the installation. A finished run is not trained
# again: remove the folder to start anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=${1:-runs/quickstart}
common=(--dataset_name=digits --model_name=lenet --optimizer=momentum --learning_rate=0.01)

scripts/setup_env.sh
python=.venv/bin/python
# TensorFlow logs as errors that there is no GPU and no AVX-512; what stops a run is raised anyway.
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}

say() {
  printf '\n== %s\n' "$*"
}

evaluate() {
  "$python" eval_image_classifier.py --checkpoint_path="$1" --eval_dir="$1/eval" \
    --dataset_name=digits --dataset_split_name=validation
}

say "1. lenet from scratch, into $runs/scratch"
"$python" train_image_classifier.py --train_dir="$runs/scratch" "${common[@]}" --epochs=5

say "2. Its last layer anew and alone, from that checkpoint, into $runs/finetuned"
"$python" train_image_classifier.py --train_dir="$runs/finetuned" "${common[@]}" --epochs=2 \
  --checkpoint_path="$runs/scratch" --checkpoint_exclude_scopes=LeNet/fc4 \
  --trainable_scopes=LeNet/fc4

say '3. Trained from scratch, on the validation images'
evaluate "$runs/scratch"

say '4. Fine-tuned, on the validation images'
evaluate "$runs/finetuned"
