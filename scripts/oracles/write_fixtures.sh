#!/usr/bin/env bash
# Creates the environments of the oracles and rewrites the fixtures of the tests.
#
#   scripts/oracles/write_fixtures.sh slim     TF-Slim's own networks
#   scripts/oracles/write_fixtures.sh torch    timm's and torchvision's
#   scripts/oracles/write_fixtures.sh state_dicts    the same, with the names in their state dicts
#   scripts/oracles/write_fixtures.sh real     published weights on the photos in ZOO_ASSETS
#   scripts/oracles/write_fixtures.sh exports  writes no fixture: loads our exports into PyTorch's
#
# slim, torch, state_dicts and exports accept names of networks. By default they run all, which takes
# about an hour (slim) or a few minutes (the others) on two cores. Needs Python 3.11 (or PYTHON),
# PyPI and .venv (scripts/setup_env.sh). The environments are created in .oracles.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

kind=${1:?slim, torch, state_dicts, real or exports}
shift
case $kind in
  slim | torch) environment=$kind ;;
  state_dicts | exports) environment=torch ;;
  real)
    photos=${ZOO_ASSETS:?the folder of real images and weights}/imagenet_sample
    environment=torch
    ;;
  *)
    echo "Expected slim, torch, state_dicts, real or exports. Received: '$kind'." >&2
    exit 1
    ;;
esac
folder=$PWD/.oracles
mkdir -p "$folder"
if [[ ! -x $folder/$environment/bin/python ]]; then
  "${PYTHON:-python3}" -m venv "$folder/$environment"
  if [[ $environment == torch ]]; then
    # torchvision and timm require the CUDA build of PyTorch, so dependencies are listed here.
    "$folder/torch/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu \
      torch==2.13.* numpy pillow pyyaml safetensors huggingface_hub
    "$folder/torch/bin/pip" install --quiet --no-deps -r scripts/oracles/requirements-torch.in
  else
    "$folder/slim/bin/pip" install --quiet -r scripts/oracles/requirements-slim.in
  fi
fi

# oneDNN's gradient of strided 1×1 convolutions crashes for some numbers of channels.
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 TF_ENABLE_ONEDNN_OPTS=0
case $kind in
  slim)
    # The last TF-Slim with all networks, from a package on PyPI that is not installed.
    package=tf-models-research-object-detection version=2.8.0.post1
    source=$folder/tf_models_research_object_detection-$version
    if [[ ! -d $source ]]; then
      echo "$package==$version --hash=sha256:c701ea455646553a64c5f161641e8d5a94054b162b81961dcfff3dd619870004" > "$folder/source.txt"
      "$folder/slim/bin/pip" download --quiet --no-deps --no-binary :all: --no-build-isolation \
        --dest "$folder" -r "$folder/source.txt"
      tar -xzf "$source.tar.gz" -C "$folder"
    fi
    "$folder/slim/bin/python" scripts/oracles/write_slim_fixtures.py --slim_dir="$source/slim" "$@"
    ;;
  torch)
    .venv/bin/python scripts/oracles/write_shapes.py "$folder/shapes.json"
    "$folder/torch/bin/python" scripts/oracles/write_torch_fixtures.py \
      --shapes="$folder/shapes.json" "$@"
    ;;
  state_dicts) "$folder/torch/bin/python" scripts/oracles/write_state_dict_fixtures.py "$@" ;;
  real)
    .venv/bin/python scripts/oracles/write_photos.py "$photos" "$folder/photos.npz"
    "$folder/torch/bin/python" scripts/oracles/write_real_weights_fixture.py \
      --photos="$folder/photos.npz"
    ;;
  exports)
    exports=$(mktemp -d)
    trap 'rm -rf "$exports"' EXIT
    .venv/bin/python scripts/oracles/write_exports.py "$exports" "$@"
    "$folder/torch/bin/python" scripts/oracles/compare_exports.py --declare_operators "$exports"
    ;;
esac
