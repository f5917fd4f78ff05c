"""Writes requirements.lock from the dependencies in pyproject.toml.

    python scripts/lock.py                        # changes only what has to change
    python scripts/lock.py --upgrade              # upgrades everything
    python scripts/lock.py --upgrade-package=NAME

One resolution covers Python 3.10 to 3.13, the extras `gpu`, `heic` and `onnx`, and the groups `dev`
and `install`. A package that only one of these needs has the marker `extra == '<its name>'`, so
that `pip install --no-deps -r requirements.lock` installs only what the programs need to run.
`scripts/setup_env.sh` also installs the requested extras.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_LOCK = _ROOT / 'requirements.lock'
_PARTS = {
    'dev': ['--group=dev'],
    'gpu': ['--extra=gpu'],
    'heic': ['--extra=heic'],
    'install': ['--group=install'],
    'onnx': ['--extra=onnx'],
}
_HEADER = """\
# Made by scripts/lock.py from pyproject.toml. Installed by scripts/setup_env.sh, which resolves
# nothing.
"""
# A requirement and the indented lines with its hashes.
_ENTRY = re.compile(r'^(\S+)(?: ; (.+?))? \\\n((?: +--hash=.*\n)+)', re.MULTILINE)


def main(options: list[str]) -> None:
  """Resolves everything once, then each part with those versions."""
  with tempfile.TemporaryDirectory() as folder:
    everything = Path(folder, 'everything.txt')
    if _LOCK.exists():
      everything.write_text(_LOCK.read_text())  # uv keeps the versions of an existing output.
    _compile([*options, f'--output-file={everything}'], *_PARTS.values())
    known = [f'--constraints={everything}']
    lines = {(requirement, condition): hashes
             for requirement, condition, hashes in _ENTRY.findall(_compile(known))}
    always = set(lines)
    for name, part in _PARTS.items():
      for requirement, condition, hashes in _ENTRY.findall(_compile(known, part)):
        if (requirement, condition) not in always:
          lines[requirement, _with_extra(condition, name)] = hashes
  entries = [f'{requirement}{f" ; {condition}" if condition else ""} \\\n{hashes}'
             for (requirement, condition), hashes in sorted(lines.items())]
  _LOCK.write_text(_HEADER + ''.join(entries))


def _compile(options: list[str], *parts: list[str]) -> str:
  command = ['uv', 'pip', 'compile', 'pyproject.toml', '--universal', '--python-version=3.10',
             '--generate-hashes', '--no-annotate', '--no-header', '--quiet',
             *(option for part in parts for option in part), *options]
  return subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def _with_extra(condition: str, name: str) -> str:
  if not condition:
    return f"extra == '{name}'"
  return f"({condition}) and extra == '{name}'" if ' or ' in condition else (
      f"{condition} and extra == '{name}'")


if __name__ == '__main__':
  main(sys.argv[1:])
