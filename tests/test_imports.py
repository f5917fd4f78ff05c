"""Allowed imports (.importlinter) and banned names."""

from __future__ import annotations

import ast
import configparser
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ('nets', 'preprocessing', 'datasets', 'slim_zoo', 'files')
PROGRAMS = {path.stem for path in ROOT.glob('*.py') if "if __name__ == '__main__':" in
            path.read_text(encoding='utf-8')}
# Programs in scripts/ share modules of their own.
SHARED_BY_SCRIPTS = ('scripts.experiments', 'scripts.fuzzing', 'scripts.oracles')
# For external packages, import-linter sees only the first component of the name.
FLAGS = ('absl.flags', 'absl.app')
BANNED = ('tensorflow.python', 'tf.python', 'tf_keras', 'torch.load')
CONTRACTS = configparser.ConfigParser()
CONTRACTS.read(ROOT / '.importlinter')
PREFIX = 'importlinter:contract:'


def lint(folder, contract):
  return subprocess.run(
      [sys.executable, '-c', 'from importlinter.cli import lint_imports_command as lint; lint()',
       '--no-cache', '--contract', contract], cwd=folder, capture_output=True, text=True,
      check=False)


@pytest.mark.parametrize('contract', [name.removeprefix(PREFIX) for name in CONTRACTS.sections()
                                      if name.startswith(PREFIX)])
def test_contract_is_kept(contract):
  result = lint(ROOT, contract)
  assert result.returncode == 0, result.stdout + result.stderr


def test_contracts_list_every_package_and_program():
  packages = {path.parent.name for path in ROOT.glob('*/__init__.py')}
  assert packages <= set(CONTRACTS['importlinter']['root_packages'].split())
  assert set(CONTRACTS[f'{PREFIX}programs']['forbidden_modules'].split()) >= PROGRAMS


@pytest.mark.parametrize(('contract', 'path', 'source'), [
  ('parts', 'nets/a.py', 'def f():\n  import datasets.b'),
  ('layers', 'datasets/a.py', 'from slim_zoo.config import b'),
  ('layers', 'files/a.py', 'from nets import b'),
  ('programs', 'slim_zoo/a.py', 'from train_image_classifier import main'),
  ('keras', 'slim_zoo/a.py', 'import tf_keras'),
  ('config', 'slim_zoo/config/a.py', 'import nets.b'),  # Which imports TensorFlow.
])
def test_contract_can_be_broken(tmp_path, contract, path, source):
  shutil.copy(ROOT / '.importlinter', tmp_path)
  for package in (*PACKAGES, 'slim_zoo/config'):
    (tmp_path / package).mkdir()
    (tmp_path / package / '__init__.py').touch()
    (tmp_path / package / 'b.py').write_text('import tensorflow\n' if package == 'nets' else '')
  assert lint(tmp_path, contract).returncode == 0
  (tmp_path / path).write_text(source + '\n')
  result = lint(tmp_path, contract)
  assert result.returncode == 1
  assert '1 broken' in result.stdout


def dotted(node):
  """Returns the dotted name that an expression spells, such as 'tf.nn.relu', or ''."""
  if isinstance(node, ast.Name):
    return node.id
  prefix = dotted(node.value) if isinstance(node, ast.Attribute) else ''
  return f'{prefix}.{node.attr}' if prefix else ''


def names_of(node):
  """Returns the absolute names that a node imports or uses; `from a import b` gives 'a.b'."""
  if isinstance(node, ast.Import):
    return [alias.name for alias in node.names]
  if isinstance(node, ast.ImportFrom) and not node.level:
    return [f'{node.module}.{alias.name}' for alias in node.names]
  if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and (
      dotted(node.func) in ('__import__', 'importlib.import_module', 'import_module')):
    return [str(node.args[0].value)]
  return [dotted(node)] if isinstance(node, ast.Attribute) else []


def within(name, modules):
  return any(name == module or name.startswith(f'{module}.') for module in modules)


def violations(source, path):
  """Returns the names that a file at `path` must not use."""
  package = path.split('/')[0]
  reads_flags = package not in PACKAGES or path.startswith('slim_zoo/config/')
  found = []
  for node in ast.walk(ast.parse(source)):
    for name in names_of(node):
      imports_program = not isinstance(node, ast.Attribute) and (
          within(name, PROGRAMS) or (within(name, ['scripts'])
                                     and not (package == 'scripts'
                                              and within(name, SHARED_BY_SCRIPTS))))
      # import_module() is invisible to import-linter.
      hides_import = package in PACKAGES and isinstance(node, ast.Call) and within(name, PACKAGES)
      if within(name, BANNED) or imports_program or hides_import or (
          within(name, FLAGS) and not reads_flags):
        found.append(name)
    if isinstance(node, ast.keyword) and node.arg == 'allow_pickle' and not (
        isinstance(node.value, ast.Constant) and node.value.value is False):
      found.append('allow_pickle')
  return found


def test_no_file_uses_a_banned_name():
  folders = (*PACKAGES, 'scripts')
  files = [*ROOT.glob('*.py'), *(path for name in folders for path in ROOT.glob(f'{name}/**/*.py'))]
  assert len(files) > 200
  found = {str(path.relative_to(ROOT)): violations(
      path.read_text(encoding='utf-8'), path.relative_to(ROOT).as_posix()) for path in files}
  assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(('path', 'source'), [
  ('predict_image.py', 'import train_image_classifier'),
  ('preprocessing/a.py', 'import importlib\nimportlib.import_module("nets.b")'),
  ('slim_zoo/training/a.py', 'from absl import flags'),
  ('files/errors.py', 'import absl.app'),
  ('slim_zoo/a.py', 'import scripts.experiments.b'),
  ('nets/a.py', 'from tensorflow.python.ops import nn'),
  ('nets/a.py', 'from tensorflow import python'),
  ('nets/a.py', 'import tensorflow as tf\ntf.python.ops.nn()'),
  ('scripts/a.py', 'import tf_keras'),
  ('slim_zoo/a.py', 'import numpy as np\nnp.load("f", allow_pickle=True)'),
  ('slim_zoo/a.py', 'import numpy as np\nnp.load("f", allow_pickle=trusted)'),
  ('slim_zoo/a.py', 'import torch\ntorch.load("f")'),
  ('slim_zoo/a.py', 'from torch import load'),
])
def test_banned_name_is_found(path, source):
  assert violations(source, path)


@pytest.mark.parametrize(('path', 'source'), [
  ('slim_zoo/training/a.py', 'from nets import network\nfrom absl import logging'),
  ('predict_image.py', 'from absl import app, flags'),
  ('slim_zoo/config/a.py', 'from absl import flags'),
  ('scripts/experiments/a.py', 'from scripts.experiments import b'),
  ('slim_zoo/a.py', 'import numpy as np\nnp.load("f", allow_pickle=False)'),
])
def test_allowed_name_passes(path, source):
  assert violations(source, path) == []
