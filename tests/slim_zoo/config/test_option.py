"""Paths on the command line: `~` is the user's home in every program."""

from __future__ import annotations

import ast
import os
import pathlib
import pwd
import re

import PIL.Image
import pytest
from absl import flags

from slim_zoo.config import option as option_lib

_ROOT = pathlib.Path(__file__).parents[3]
_NAME = re.compile(r'(^|_)(dir|path|file|folder|python)$')
_HELP = re.compile(r'\b(file|folder|directory|path|checkpoints?|weights|photos|data)\b',
                   re.IGNORECASE)
# Flags whose help mentions files although their values are not paths. For --head, a function in a
# file, `~` is expanded where the file is read.
_NO_PATHS = {'experiment', 'model_name'}


def _defined() -> list[tuple[str, str, str]]:
  """Lists (script, flag, help) of the flags that scripts define as plain text."""
  found = []
  for path in sorted(_ROOT.glob('scripts/**/*.py')):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
      if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'DEFINE_string':
        if isinstance(node.args[0], ast.Constant):
          found.append((path.name, node.args[0].value, ast.unparse(node.args[2])))
  return found


def test_every_path_flag_is_defined_as_a_path():
  found = _defined()
  assert ('program.py', 'seed') in {(path, name) for path, name, _ in found}
  assert [(path, name) for path, name, text in found if name not in _NO_PATHS
          and (_NAME.search(name) or _HELP.search(text))] == []


@pytest.fixture
def values(monkeypatch):
  """Flags separate from those of the process: an input path and an output path."""
  found = flags.FlagValues()
  with monkeypatch.context() as patch:
    define = flags.DEFINE_flag
    patch.setattr(flags, 'DEFINE_flag', lambda flag: define(flag, flag_values=found))
    option_lib.define_path('dataset_dir', None, 'Where from.')
    option_lib.define_path('train_dir', '~/runs', 'Where to.', is_written=True)
  return found


@pytest.mark.parametrize(('given', 'expected'), [
  ('~/run', '/home/me/run'), ('~', '/home/me'), ('run', 'run'), ('./~', './~'), ('a/~/b', 'a/~/b'),
  ('~root/run', os.path.join(pwd.getpwnam('root').pw_dir, 'run')),
  ('~nobody-has-this-name', '~nobody-has-this-name'), ('zoo:mobilenet_v1', 'zoo:mobilenet_v1'),
  ('gs://bucket/data', 'gs://bucket/data'), ('', '')])
def test_home_is_expanded(values, monkeypatch, given, expected):
  monkeypatch.setenv('HOME', '/home/me')
  values(['program', f'--dataset_dir={given}'])
  assert values.dataset_dir == option_lib.expand(given) == expected
  assert values['dataset_dir'].flag_type() == 'string'
  assert f'--dataset_dir={expected}' in values.flags_into_string()


def test_defaults_are_expanded(values, monkeypatch):
  values(['program'])
  assert values.dataset_dir is None
  assert values.train_dir == os.path.expanduser('~/runs')


def test_output_path_must_not_be_a_url(values):
  with pytest.raises(flags.IllegalFlagValueError,
                     match='--train_dir=gs://bucket/run'):
    values(['program', '--train_dir=gs://bucket/run'])
  values(['program', '--train_dir=/gs/run'])


@pytest.mark.thorough
def test_runs_and_images_in_the_home_folder(run_here, tmp_path, monkeypatch):
  """Without expansion, folders named `~` would be created in the working folder."""
  home, work = tmp_path / 'home', tmp_path / 'work'
  home.mkdir()
  work.mkdir()
  PIL.Image.new('L', (8, 8), 200).save(home / 'photo.png')
  monkeypatch.setenv('HOME', str(home))
  monkeypatch.chdir(work)
  for program, arguments in {
      'train_image_classifier': ['--train_dir=~/run', '--dataset_name=digits', '--model_name=lenet',
                                 '--max_number_of_steps=2', '--xla=off'],
      'eval_image_classifier': ['--checkpoint_path=~/run', '--eval_dir=~/eval',
                                '--dataset_split_name=validation', '--max_num_batches=1'],
      'predict_image': ['--checkpoint_path=~/run', '--output_path=~/found.csv', '~/photo.png'],
      'export_model': ['--checkpoint_path=~/run', '--output_path=~/model.pb'],
  }.items():
    code, out, errors = run_here(program, *arguments)
    assert code == 0, out + errors
  assert list(work.iterdir()) == []
  assert {'run', 'eval', 'found.csv', 'model.pb', 'photo.png'} <= {*os.listdir(home)}
  assert str(home / 'photo.png') in (home / 'found.csv').read_text()


@pytest.mark.parametrize('path', ['zoo:mobilenet_v1_1.0_224', 'gs://bucket/run', '', None])
def test_names_of_published_weights_are_no_local_paths(path):
  assert option_lib.absolute(path) == path
