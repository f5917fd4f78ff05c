"""The image has what the programs need and nothing else; it was built and run by hand."""

from __future__ import annotations

import fnmatch
import json
import pathlib
import re

import pytest
from packaging import specifiers

from tests.command_lines import ROOT, read


def _instructions(name: str) -> list[str]:
  """The arguments of all instructions of a kind in the Dockerfile."""
  return re.findall(rf'^{name} (.*)', read('Dockerfile'), re.MULTILINE)


def _is_sent(path: str) -> bool:
  """Whether .dockerignore lets a file through: the last pattern that matches it, or a parent."""
  parts, is_sent = pathlib.PurePath(path).parts, True
  for line in read('.dockerignore').splitlines():
    if line and not line.startswith('#'):
      pattern = line.removeprefix('!')
      tried = parts if pattern.startswith('**/') else parts[:1]
      if any(fnmatch.fnmatch(part, pattern.removeprefix('**/')) for part in tried):
        is_sent = line.startswith('!')
  return is_sent


@pytest.mark.parametrize(('path', 'expected'), [
  ('train_image_classifier.py', True),
  ('datasets/imagenet_labels.tsv', True),
  ('slim_zoo/report/page.html.jinja', True),
  ('scripts/recipes/train_lenet_on_mnist.flags', True),
  ('slim_zoo/__pycache__/load.pyc', False),
  ('tests/command_lines.py', False),
  ('.git/config', False),
  ('.venv/bin/python', False),
  ('runs/flowers/checkpoint', False),
  ('photos/cat/1.jpg', False),
  ('.env', False),
])
def test_files_of_the_image(path, expected):
  assert _is_sent(path) == expected


def test_patterns_are_those_that_this_test_understands():
  lines = [line for line in read('.dockerignore').splitlines() if not line.startswith('#')]
  assert lines[0] == '*'
  for line in lines[1:]:
    assert re.fullmatch(r'\*\*/\w+|![\w.*]+', line)
    assert line.startswith('**') or [*ROOT.glob(line[1:])], f'there is no {line[1:]}'


def test_every_import_is_in_the_image():
  ours = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == '.py'}
  files = list(ROOT.glob('*.py'))
  files += [file for path in ROOT.iterdir() if path.is_dir() and _is_sent(path.name)
            for file in path.rglob('*.py')]
  imported = {name for file in files for name in re.findall(
    r'^ *(?:from|import) (\w+)', file.read_text('utf-8'), re.MULTILINE)} & ours
  assert {'datasets', 'slim_zoo'} <= imported
  for name in imported:
    assert _is_sent(name if (ROOT / name).is_dir() else f'{name}.py'), name


def test_copied_files_exist():
  sources = [source for words in _instructions('COPY') for source in words.split()[:-1]]
  assert {'requirements.lock', 'scripts/setup_env.sh', '.'} == {*sources}
  assert all((ROOT / source).exists() and (source == '.' or _is_sent(source)) for source in sources)


def test_python_is_supported():
  (image,) = _instructions('FROM')
  (version,) = re.findall(r'^python:(3\.\d+)-slim', image)
  (supported,) = re.findall(r'^requires-python = "(.*)"', read('pyproject.toml'), re.MULTILINE)
  assert specifiers.SpecifierSet(supported).contains(version)
  assert f'python{version} ' in read('scripts/setup_env.sh')


def test_signals_reach_a_program_that_is_not_root():
  (command,), (user,) = _instructions('CMD'), _instructions('USER')
  program, script, *_ = json.loads(command)  # In Docker's other form, a shell would get the signal.
  assert program == 'python' and (ROOT / script).exists()
  (group,) = re.findall(r'^ +fsGroup: (\d+)', read('scripts/kubernetes/train.yaml'), re.MULTILINE)
  assert user == f'{group}:{group}' != '0:0'
