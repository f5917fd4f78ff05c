"""The rules on who may import what, and on what nobody may, read from the source."""

from __future__ import annotations

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ('nets', 'preprocessing', 'datasets', 'slim_zoo', 'files')
# The modules at the top that are no scripts: for all, and for the scripts alone.
LIBRARY_MODULES = ()
SCRIPT_MODULES = ('checkpoint_flags', 'command_line', 'head_flags', 'inference_flags',
                  'optimization_flags', 'path_flags', 'phases', 'train_data', 'trunks',
                  'warm_start')
SCRIPT_PACKAGES = ('scripts.experiments', 'scripts.fuzzing', 'scripts.oracles')

# What everybody may import, and what therefore imports none of the packages.
BASE = ('files',)
# Parts that stand alone, and what none of them may import: each other, and what is built on them.
INDEPENDENT = ('nets', 'preprocessing', 'datasets')
CLOSED_TO_THEM = (*INDEPENDENT, 'slim_zoo')

FORBIDDEN_MODULES = {
  'tensorflow.python': 'is private',
  'tf_keras': 'is Keras 2; this stack has Keras 3',
}
FLAG_MODULES = ('absl.flags', 'absl.app')


def scripts():
  shared = (*LIBRARY_MODULES, *SCRIPT_MODULES)
  return sorted(p for p in ROOT.glob('*.py') if p.stem not in shared)


def sources():
  """All Python files of the project, the tests excepted."""
  files = [*ROOT.glob('*.py'), *ROOT.glob('scripts/**/*.py')]
  for package in PACKAGES:
    files.extend(ROOT.glob(f'{package}/**/*.py'))
  return sorted(files)


def dotted(node):
  """Returns the dotted name that an expression spells, such as 'tf.nn.relu', or ''."""
  if isinstance(node, ast.Name):
    return node.id
  if isinstance(node, ast.Attribute):
    prefix = dotted(node.value)
    return f'{prefix}.{node.attr}' if prefix else ''
  return ''


def within(name, module):
  return name == module or name.startswith(f'{module}.')


def imported_names(tree, package):
  """Returns the absolute dotted names that a module imports; `from a import b` gives 'a.b'.

  Args:
    tree: the module's syntax tree.
    package: dotted name of the package that the module is in, for relative imports.
  """
  names = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      parts = package.split('.') if node.level else []
      parts = parts[: len(parts) - node.level + 1]
      base = '.'.join([*parts, *([node.module] if node.module else [])])
      names.update(f'{base}.{alias.name}' for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
      if dotted(node.func) in ('__import__', 'importlib.import_module', 'import_module'):
        names.add(str(node.args[0].value))
  return names


def violations(source, path, script_names):
  """Returns what a file does against the rules.

  Args:
    source: the file's text.
    path: where it is, relative to the project's root.
    script_names: module names of the scripts at the top.
  """
  tree = ast.parse(source)
  path = pathlib.PurePosixPath(path)
  owner = path.parts[0] if len(path.parts) > 1 else ''
  of_script = owner == 'scripts' or (path.stem in (*script_names, *SCRIPT_MODULES) and not owner)
  found = []
  for name in sorted(imported_names(tree, '.'.join(path.parts[:-1]))):
    top = name.split('.')[0]
    if owner in INDEPENDENT and top in CLOSED_TO_THEM and top != owner:
      found.append(f'{owner} imports {name}')
    if owner in BASE and top in PACKAGES and top != owner:
      found.append(f'{owner} imports {name}')
    # The oracles' programs share modules, which run in environments of their own.
    # What programs in scripts/ are made of lies in packages there, for them alone.
    is_part = path.parts[0] == 'scripts' and any(within(name, part) for part in SCRIPT_PACKAGES)
    if top in script_names or (top == 'scripts' and not is_part):
      found.append(f'imports the script {name}')
    if not of_script and top in SCRIPT_MODULES:
      found.append(f'imports {name}, which only scripts do')
    if not of_script and any(within(name, module) for module in FLAG_MODULES):
      found.append(f'reads flags: imports {name}, which only scripts do')
    for module, why in FORBIDDEN_MODULES.items():
      if within(name, module):
        found.append(f'imports {name}: {module} {why}')
  for node in ast.walk(tree):
    if dotted(node).startswith(('tf.python.', 'tensorflow.python.')):
      found.append(f'uses {dotted(node)}, which is private')
    if dotted(node) == 'torch.load':
      found.append('uses torch.load, which can run code from the file')
    if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
      if not (isinstance(node.value, ast.Constant) and node.value.value is False):
        found.append('allows pickle, which can run code from the file')
    if isinstance(node, ast.ImportFrom) and node.module == 'torch':
      if any(alias.name == 'load' for alias in node.names):
        found.append('imports torch.load, which can run code from the file')
  return found


@pytest.mark.parametrize('path', [p.relative_to(ROOT).as_posix() for p in sources()])
def test_file_keeps_the_rules(path):
  names = {p.stem for p in scripts()}
  assert violations((ROOT / path).read_text(encoding='utf-8'), path, names) == []


def test_every_package_is_known_here():
  found = {p.parent.name for p in ROOT.glob('*/__init__.py')}
  assert found <= set(PACKAGES)


BROKEN = [
  ('nets/a.py', 'import datasets.b', 'nets imports datasets.b'),
  ('nets/a.py', 'def f():\n  from preprocessing import b', 'nets imports preprocessing.b'),
  ('datasets/a.py', 'from slim_zoo.training.b import c', 'datasets imports slim_zoo'),
  ('preprocessing/a.py', 'import importlib\nimportlib.import_module("nets.b")', 'imports nets.b'),
  ('files/a.py', 'from slim_zoo.weights import b', 'files imports slim_zoo'),
  ('slim_zoo/training/a.py', 'from train_image_classifier import main', 'imports the script'),
  ('predict_image.py', 'import train_image_classifier', 'imports the script'),
  ('command_line.py', 'import train_image_classifier', 'imports the script'),
  ('slim_zoo/training/a.py', 'from command_line import run', 'only scripts do'),
  ('slim_zoo/training/a.py', 'from absl import flags', 'reads flags'),
  ('files/errors.py', 'import absl.app', 'reads flags'),
  ('nets/a.py', 'from tensorflow.python.ops import nn', 'is private'),
  ('nets/a.py', 'from tensorflow import python', 'is private'),
  ('nets/a.py', 'import tensorflow as tf\ntf.python.ops.nn()', 'is private'),
  ('slim_zoo/training/a.py', 'import tf_keras', 'is Keras 2'),
  ('slim_zoo/weights/a.py', 'import numpy as np\nnp.load("f", allow_pickle=True)', 'allows pickle'),
  ('slim_zoo/weights/a.py', 'import numpy as np\nnp.load("f", allow_pickle=trusted)',
   'allows pickle'),
  ('slim_zoo/weights/a.py', 'import torch\ntorch.load("f")', 'torch.load'),
  ('slim_zoo/weights/a.py', 'from torch import load', 'torch.load'),
]
SOUND = [
  ('nets/a.py', 'from nets import layers\nfrom files.errors import unknown_name'),
  ('nets/a.py', 'from . import layers'),
  ('datasets/a.py', 'from files import downloads\nfrom datasets import b'),
  ('slim_zoo/training/a.py', 'from nets import network\nfrom absl import logging'),
  ('predict_image.py', 'import command_line\nfrom absl import app, flags'),
  ('command_line.py', 'from absl import flags'),
  ('scripts/benchmark.py', 'from absl import app\nfrom nets import nets_factory'),
  ('slim_zoo/weights/a.py', 'import numpy as np\nnp.load("f", allow_pickle=False)'),
]
SCRIPT_NAMES = ('train_image_classifier', 'predict_image')


@pytest.mark.parametrize(('path', 'source', 'expected'), BROKEN)
def test_broken_rule_is_found(path, source, expected):
  assert any(expected in line for line in violations(source, path, SCRIPT_NAMES))


@pytest.mark.parametrize(('path', 'source'), SOUND)
def test_sound_source_passes(path, source):
  assert violations(source, path, SCRIPT_NAMES) == []
