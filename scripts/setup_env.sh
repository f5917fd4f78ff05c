#!/usr/bin/env bash
# Makes .venv and installs what requirements.lock lists: no other version, and only files whose hash
# it has. A second call does nothing unless the lock file, the extras or the Python changed.
#
#   scripts/setup_env.sh           what the programs need, with TensorFlow for the CPU
#   scripts/setup_env.sh --gpu     CUDA for NVIDIA GPUs as well
#   scripts/setup_env.sh --heic    the reader for photos of iPhones as well
#   scripts/setup_env.sh --onnx    the converter to ONNX as well
#   scripts/setup_env.sh --dev     the tools for tests and style checks as well
#   PYTHON=/path/to/python3.12 scripts/setup_env.sh
#
# An extra that .venv has stays there in later calls, so that the other scripts work with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
extras=$venv/extras              # Names the extras; its presence says that this script made .venv.
installed=$venv/requirements.txt # What was installed; there only once the installation is complete.

fail() {
  printf 'setup_env.sh: %s\n' "$*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" ${PYTHON:-python3.13 python3.12 python3.11 python3.10}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
      >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  fail "Expected Python 3.10, 3.11, 3.12 or 3.13." \
    "Received: ${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>&1 || true)." \
    "Install one of them, or name it: PYTHON=/path/to/python3.12 $0"
}

# Prints the Python version of $1 and the lock file with the conditions of the chosen extras met.
requirements() {
  "$1" -c 'import sys; print("# Python %d.%d" % sys.version_info[:2])' &&
    sed -E "s/extra == '(install$(printf '|%s' ${chosen}))'/python_version > '3'/" requirements.lock
}

if [[ -e $venv && ! -f $extras ]]; then
  fail "$venv exists and was not made by this script. Move it away and start this again."
fi
chosen=$(cat "$extras" 2>/dev/null || true)
for argument in "$@"; do
  case $argument in
    --dev | --gpu | --heic | --onnx)
      [[ " $chosen " == *" ${argument#--} "* ]] || chosen+=" ${argument#--}" ;;
    *) fail "Expected --gpu, --heic, --onnx, --dev or no argument. Received: $argument" ;;
  esac
done
if requirements "${PYTHON:-$venv/bin/python}" 2>/dev/null | cmp -s - "$installed"; then
  exit 0
fi

python=$(find_python)
echo "Installing requirements.lock into $venv with $("$python" --version)."
rm -rf "$venv"
mkdir "$venv"
echo "$chosen" >"$extras"
"$python" -m venv "$venv"
requirements "$python" >"$installed.part"
# uv is more than twice as fast as pip. It trusts the system's certificates, and takes its index from
# pip's settings unless it has one of its own.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
  -r <(sed -n '/^uv==/,/[^\\]$/p' "$installed.part")
if [[ -z ${UV_DEFAULT_INDEX:-} ]]; then
  UV_DEFAULT_INDEX=${PIP_INDEX_URL:-$("$venv/bin/pip" config get global.index-url 2>/dev/null || true)}
fi
export UV_DEFAULT_INDEX UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true} VIRTUAL_ENV=$venv
# Packages that are published as source only are built with the setuptools of the lock file.
"$venv/bin/uv" pip sync --compile-bytecode --require-hashes --build-constraints "$installed.part" "$installed.part"
"$venv/bin/uv" pip check
mv "$installed.part" "$installed"
