#!/usr/bin/env bash
# Makes .venv and installs exactly what the lock file names, checked by hash.
#
#   scripts/setup_env.sh           TensorFlow for the CPU
#   scripts/setup_env.sh --gpu     TensorFlow with CUDA for NVIDIA GPUs
#   PYTHON=/path/to/python3.12 scripts/setup_env.sh
#
# A second call does nothing, unless the lock file, the kind or the Python changed. A call without
# --gpu keeps the kind that .venv has, so that the other scripts work in either.
set -Eeuo pipefail # E: functions run the ERR trap too.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
marker=$venv/.slim-zoo # Names the lock file; there from the first moment: this .venv is ours.
stamp=$venv/.installed # What was installed; there only once the installation is complete.

fail() {
  printf 'setup_env.sh: %s\n' "$*" >&2
  exit 1
}

is_supported() {
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    is_supported "$PYTHON" || fail "Expected PYTHON to be a Python 3.10, 3.11, 3.12 or 3.13." \
      "Received: PYTHON=$PYTHON ($("$PYTHON" --version 2>&1 || true))."
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    if is_supported "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "Expected a Python 3.10, 3.11, 3.12 or 3.13 on the PATH." \
    "Received: python3 is $(python3 --version 2>&1 || true)." \
    "Install one of them, or name it: PYTHON=/path/to/python3.12 $0"
}

python_version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# Prints what a complete installation of lock file $1 for Python version $2 is known by.
describe() {
  printf '%s %s ' "$1" "$2"
  "$venv/bin/python" -c 'import hashlib, sys
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"
}

is_complete() {
  local version
  [[ -f $stamp ]] && is_supported "$venv/bin/python" || return 1
  version=$(python_version "$venv/bin/python")
  if [[ -n ${PYTHON:-} && $(python_version "$PYTHON") != "$version" ]]; then
    return 1
  fi
  [[ $(cat "$stamp") == "$(describe "$1" "$version")" ]]
}

# Passes on of pip's output only what tells how far it is.
report_progress() {
  local line fetched=0
  while IFS= read -r line; do
    case $line in
      Collecting*)
        fetched=$((fetched + 1))
        ((fetched % 20)) || echo "  $fetched packages fetched"
        ;;
      'Installing collected'*) echo "  $fetched packages fetched, unpacking" ;;
    esac
  done
}

# Prints what lock file $2 says of package $1: its version and its hashes.
lock_entry() {
  sed -n "/^$1==/,/[^\\\\]\$/p" "$2"
}

install() {
  local lock=$1 python=$2 pip
  pip=("$venv/bin/python" -m pip --disable-pip-version-check install --require-hashes)
  rm -rf "$venv"
  mkdir "$venv"
  echo "$lock" >"$marker"
  echo "Making $venv with $("$python" --version) from $lock: this takes a few minutes once."
  "$python" -m venv "$venv" ||
    fail "$python cannot make a virtual environment; on Debian and Ubuntu the package" \
      "python$(python_version "$python")-venv is missing. Install it and start this again."

  # One package, promise, is published as source only. It is built with the setuptools of the lock
  # file and not with whatever is the newest, so that this works next year as well.
  lock_entry setuptools "$lock" >"$venv/setuptools.lock"
  lock_entry promise "$lock" >"$venv/promise.lock"
  "${pip[@]}" --quiet -r "$venv/setuptools.lock"
  "${pip[@]}" --quiet --no-deps --no-build-isolation --use-pep517 -r "$venv/promise.lock"
  "${pip[@]}" --progress-bar=off --only-binary=:all: -r "$lock" | report_progress
  describe "$lock" "$(python_version "$venv/bin/python")" >"$stamp.part"
  mv "$stamp.part" "$stamp"
  echo "$venv is ready."
}

lock=requirements.lock
case ${1:-} in
  --gpu) lock=requirements-gpu.lock ;;
  '') [[ ! -f $marker ]] || lock=$(cat "$marker") ;;
  *) fail "Expected no argument or --gpu. Received: $*" ;;
esac
[[ -f $lock ]] || lock=requirements.lock

if is_complete "$lock"; then
  exit 0
fi
if [[ -e $venv && ! -f $marker ]]; then
  fail "$venv exists and was not made by this script. Move it away and start this again."
fi
python=$(find_python)
# Not 'install || fail': there bash would go on after a step that failed.
trap 'fail "The installation did not finish. Start it again: it begins anew."' ERR
trap 'exit 130' INT TERM
install "$lock" "$python"
