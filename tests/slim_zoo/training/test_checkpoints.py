"""Checkpoints are compatible with TensorFlow 1, and always complete or absent."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil

import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.training import checkpoints
from slim_zoo.weights import checkpoint_files
from slim_zoo.weights.checkpoint_files import CheckpointError
from slim_zoo.weights.reader import Checkpoint

v1 = tf.compat.v1
_VALUES = {
  'net/conv1/weights': np.arange(24, dtype=np.float32).reshape(2, 3, 4),
  'net/conv1/weights/Momentum': -np.arange(24, dtype=np.float32).reshape(2, 3, 4),
  'net/conv1/BatchNorm/moving_mean': np.array([np.pi, 1e-30, 1e30], np.float32),
  'global_step': np.int64(2**40),
}


def _save(folder, step, *, value=None, metadata=None, max_to_keep=5):
  """Saves a checkpoint in which every value is the step, or `value`."""
  value = step if value is None else value
  return checkpoints.save(
    folder, step, {'w': tf.fill([2000], float(value)), 'global_step': tf.constant(step, tf.int64)},
    metadata=metadata or {'step': step, 'value': value}, max_to_keep=max_to_keep)


def _content(prefix) -> dict:
  """Reads everything in a checkpoint with TensorFlow's reader."""
  reader = tf.train.load_checkpoint(prefix)
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _files(folder) -> dict:
  """The bytes of every file in a folder."""
  return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def test_tensorflow_1_restores_what_is_saved(tmp_path):
  prefix = checkpoints.save(tmp_path, 7, {n: tf.constant(v) for n, v in _VALUES.items()},
                            metadata={}, max_to_keep=1)
  assert prefix == str(tmp_path / 'model.ckpt-7')
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    'checkpoint', 'model.ckpt-7.data-00000-of-00001', 'model.ckpt-7.index', 'model.ckpt-7.json']
  read = _content(prefix)
  assert read.keys() == _VALUES.keys()
  with tf.Graph().as_default(), v1.Session() as session:
    variables = {n: v1.get_variable(n, shape=np.shape(v), dtype=np.asarray(v).dtype)
                 for n, v in _VALUES.items()}
    v1.train.Saver().restore(session, tf.train.latest_checkpoint(str(tmp_path)))
    restored = session.run(variables)
  for name, value in _VALUES.items():
    np.testing.assert_array_equal(read[name], value)
    np.testing.assert_array_equal(restored[name], value)
    assert restored[name].dtype == np.asarray(value).dtype


@pytest.mark.parametrize('version', [v1.train.SaverDef.V1, v1.train.SaverDef.V2])
def test_finds_what_tensorflow_1_saves(tmp_path, version):
  with tf.Graph().as_default(), v1.Session() as session:
    v1.get_variable('w', initializer=[1.0, 2.0])
    session.run(v1.global_variables_initializer())
    saver = v1.train.Saver(write_version=version)
    (tmp_path / 'made').mkdir()
    prefix = saver.save(session, str(tmp_path / 'made' / 'vgg_16.ckpt'))
  moved = (tmp_path / 'made').rename(tmp_path / 'moved')
  for path in ('vgg_16.ckpt', 'vgg_16.ckpt.meta', '.'):
    assert os.path.basename(checkpoint_files.latest(moved / path)) == os.path.basename(prefix)
  (moved / 'checkpoint').unlink()
  found = checkpoint_files.latest(moved)
  assert os.path.basename(found) == os.path.basename(prefix)
  np.testing.assert_array_equal(_content(found)['w'], [1, 2])
  assert checkpoint_files.read_metadata(found) == {}


@pytest.mark.parametrize(('state', 'expected'), [
  # Written at the folder's previous path.
  ('model_checkpoint_path: "/before/model.ckpt-2"\n'
   'all_model_checkpoint_paths: "/before/model.ckpt-1"\n'
   'all_model_checkpoint_paths: "/before/model.ckpt-2"\n', 2),
  ('model_checkpoint_path: "model.ckpt-1"\n', 1),
  # Edited to go back to an earlier one.
  ('model_checkpoint_path: "model.ckpt-1"\nall_model_checkpoint_paths: "model.ckpt-1"\n'
   'all_model_checkpoint_paths: "model.ckpt-2"\n', 1),
  # The newest was removed by hand.
  ('model_checkpoint_path: "model.ckpt-3"\nall_model_checkpoint_paths: "model.ckpt-1"\n'
   'all_model_checkpoint_paths: "model.ckpt-2"\nall_model_checkpoint_paths: "model.ckpt-3"\n', 2),
])
def test_latest_follows_the_state_file(tmp_path, state, expected):
  _save(tmp_path, 1)
  _save(tmp_path, 2)
  (tmp_path / 'checkpoint').write_text(state)
  assert checkpoint_files.latest(tmp_path) == str(tmp_path / f'model.ckpt-{expected}')


@pytest.mark.parametrize('name', [
  'run[1]', 'a\\b', 'a*b', 'a?b', 'with space', 'ü-ñ', '100%', '{x}', "a'b", '~', 'line\nbreak',
  os.fsdecode(b'caf\xe9')])
def test_folders_of_any_name(tmp_path, name):
  for step in (1, 2, 3):
    _save(tmp_path / name, step, max_to_keep=2)
  assert checkpoint_files.latest(tmp_path / name) == str(tmp_path / name / 'model.ckpt-3')
  # The state file counts there, too.
  (tmp_path / name / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt-2"\n')
  found = checkpoint_files.latest(tmp_path / name)
  assert found == str(tmp_path / name / 'model.ckpt-2')
  checkpoint = Checkpoint(found)
  np.testing.assert_array_equal(checkpoint.read('w'), np.full(2000, 2))
  assert checkpoint.read('global_step') == 2


@pytest.mark.parametrize('suffix', ['', '.index', '.data-00000-of-00001', '.json'])
def test_latest_accepts_any_file_of_a_checkpoint(tmp_path, suffix):
  _save(tmp_path, 1)
  _save(tmp_path, 2)
  first = str(tmp_path / 'model.ckpt-1')
  assert checkpoint_files.latest(first + suffix) == first
  assert checkpoint_files.latest(str(tmp_path)) == str(tmp_path / 'model.ckpt-2')


@pytest.mark.parametrize('state', [
  None, b'', b'\0' * 50, b'\xff\xfe\x80', b'model_checkpoint_path'])
def test_folder_without_a_valid_state_file(tmp_path, state):
  def spoil():
    path = tmp_path / 'checkpoint'
    path.unlink() if state is None else path.write_bytes(state)

  _save(tmp_path, 1)
  spoil()
  assert checkpoint_files.latest(tmp_path) == str(tmp_path / 'model.ckpt-1')
  for step in (9, 10):  # Sorted by number, not as text.
    shutil.copy(tmp_path / 'model.ckpt-1.index', tmp_path / f'model.ckpt-{step}.index')
  assert checkpoint_files.latest(tmp_path) == str(tmp_path / 'model.ckpt-10')


def test_several_foreign_checkpoints_are_an_error(tmp_path):
  for name in ('vgg.ckpt', 'resnet.ckpt'):
    (tmp_path / f'{name}.index').write_bytes(b'')
  with pytest.raises(CheckpointError, match='resnet.ckpt, .*vgg.ckpt'):
    checkpoint_files.latest(tmp_path, missing_ok=True)


def test_checkpoint_missing_in_the_state_file_is_removed_first(tmp_path):
  for step in (1, 2, 3):
    _save(tmp_path, step)
  state = (tmp_path / 'checkpoint').read_text()
  (tmp_path / 'checkpoint').write_text(state.replace('model.ckpt-2"', 'gone"'))
  checkpoints.save(tmp_path, 4, {'v': tf.zeros([])}, metadata={}, max_to_keep=3)
  names = sorted(path.name for path in tmp_path.glob('*.index'))
  assert names == ['model.ckpt-1.index', 'model.ckpt-3.index', 'model.ckpt-4.index']


def test_no_checkpoint(tmp_path):
  assert checkpoint_files.latest(tmp_path, missing_ok=True) is None
  assert checkpoint_files.latest(tmp_path / 'model.ckpt-1', missing_ok=True) is None
  assert checkpoint_files.latest(tmp_path / 'no' / 'folder', missing_ok=True) is None
  with pytest.raises(CheckpointError, match=re.escape(str(tmp_path))):
    checkpoint_files.latest(tmp_path)
  _save(tmp_path, 3)
  with pytest.raises(CheckpointError, match='model.ckpt-1.index.*model.ckpt-3.index'):
    checkpoint_files.latest(tmp_path / 'model.ckpt-1')


@pytest.mark.parametrize('folder', ['run', 'runs/one/best', '../run'])
def test_tensorflow_finds_checkpoints_in_a_relative_folder(tmp_path, monkeypatch, folder):
  (tmp_path / 'work').mkdir()
  monkeypatch.chdir(tmp_path / 'work')
  for step in (1, 2):
    _save(folder, step)
  assert tf.train.latest_checkpoint(folder) == f'{folder}/model.ckpt-2'
  assert (tmp_path / 'work' / folder / 'checkpoint').read_text().splitlines() == [
    'model_checkpoint_path: "model.ckpt-2"', 'all_model_checkpoint_paths: "model.ckpt-1"',
    'all_model_checkpoint_paths: "model.ckpt-2"']


@pytest.mark.parametrize(('max_to_keep', 'kept'), [(1, [5]), (2, [4, 5]), (9, [1, 2, 3, 4, 5])])
def test_keeps_max_to_keep_checkpoints(tmp_path, max_to_keep, kept):
  made = tmp_path / 'made'
  for step in range(1, 6):
    _save(made, step, max_to_keep=max_to_keep)
  assert sorted(_files(made)) == sorted(['checkpoint', *(
    f'model.ckpt-{step}{suffix}' for step in kept
    for suffix in ('.data-00000-of-00001', '.index', '.json'))])
  state = tf.train.get_checkpoint_state(str(made))
  assert [os.path.basename(p) for p in state.all_model_checkpoint_paths] == [
    f'model.ckpt-{step}' for step in kept]
  # TensorFlow resolves relative names in the folder, even if it is moved.
  moved = made.rename(tmp_path / 'moved')
  assert checkpoint_files.latest(moved) == str(moved / 'model.ckpt-5')
  assert tf.train.latest_checkpoint(str(moved)) == str(moved / 'model.ckpt-5')
  _save(moved, 6, max_to_keep=1)
  assert len(_files(moved)) == 4


def test_saving_fewer_than_before_removes_the_oldest(tmp_path):
  for step in (1, 2, 3, 4):
    _save(tmp_path, step)
  _save(tmp_path, 5, max_to_keep=2)
  assert {p.stem for p in tmp_path.glob('*.index')} == {'model.ckpt-4', 'model.ckpt-5'}


@pytest.mark.parametrize(('kilobytes', 'metadata'), [
  (4, {}),  # The data do not fit.
  (12, {'class_names': ['x' * 20_000]}),  # The data do, the metadata do not.
])
def test_full_disk_keeps_saved_checkpoints(tmp_path, kilobytes, metadata):
  _save(tmp_path, 1)
  before = _files(tmp_path)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, hard))
  try:
    with pytest.raises(CheckpointError, match=r'model.ckpt-2 .*model.ckpt-1\.$') as error:
      _save(tmp_path, 2, metadata=metadata)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert '\n' not in str(error.value)
  assert _files(tmp_path) == before
  assert not (tmp_path / '.saving').exists()
  assert _save(tmp_path, 2, metadata=metadata) == checkpoint_files.latest(tmp_path)


def test_file_in_place_of_the_folder(tmp_path):
  (tmp_path / 'run').write_text('mine')
  with pytest.raises(CheckpointError, match='run/model.ckpt-1'):
    _save(tmp_path / 'run', 1)
  assert (tmp_path / 'run').read_text() == 'mine'


class _KilledError(BaseException):
  """Ends saving where a killed process would end."""


def _kill_at(monkeypatch, call: int) -> None:
  """Makes saving end at a call of os.replace or os.remove, without any clean-up."""
  calls = iter(range(1000))

  def counted(function):
    def replacement(*arguments):
      if next(calls) == call:
        raise _KilledError
      return function(*arguments)
    return replacement

  for name in ('replace', 'remove'):
    monkeypatch.setattr(os, name, counted(getattr(os, name)))
  monkeypatch.setattr(shutil, 'rmtree', lambda *_, **__: None)


# Removes an index, renames three files of the checkpoint and the state file, removes an old one.
@pytest.mark.parametrize('call', range(8))
@pytest.mark.parametrize(('earlier', 'step', 'max_to_keep'), [
  ([1], 2, 2), ([1, 2], 3, 2), ([1], 2, 1),
  ([1, 2], 2, 2), ([2], 2, 1),  # Over a checkpoint of the same step.
])
def test_killed_between_renames(tmp_path, monkeypatch, call, earlier, step, max_to_keep):
  for one in earlier:
    _save(tmp_path, one, max_to_keep=max_to_keep)
  with monkeypatch.context() as patch:
    _kill_at(patch, call)
    try:
      _save(tmp_path, step, value=100, max_to_keep=max_to_keep)
    except _KilledError:
      finished = False
    else:
      finished = True
  num_kept = len({*earlier, step})
  assert finished is (call >= (8 if num_kept > max_to_keep else 5))
  if earlier == [2] and 0 < call < 4:  # The only one is being replaced and briefly absent.
    assert checkpoint_files.latest(tmp_path, missing_ok=True) is None
    return
  found = checkpoint_files.latest(tmp_path)
  if step not in earlier:  # TensorFlow finds the same one.
    assert tf.train.latest_checkpoint(str(tmp_path)) == found
  content, metadata = _content(found), checkpoint_files.read_metadata(found)
  assert set(content['w']) == {metadata['value']}
  assert content['global_step'] == metadata['step'] == int(found.rpartition('-')[2])
  assert metadata['step'] in {*earlier[-2:], step}
  for index in tmp_path.glob('*.index'):  # Every checkpoint with an index is complete.
    prefix = str(index)[:-len('.index')]
    assert set(_content(prefix)['w']) == {checkpoint_files.read_metadata(prefix)['value']}
  # The next one is saved as usual.
  following = _save(tmp_path, 9, max_to_keep=2)
  assert checkpoint_files.latest(tmp_path) == following
  assert not (tmp_path / '.saving').exists()


def test_killed_before_the_first_state_file(tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    _kill_at(patch, 4)  # Only the state file is missing.
    with pytest.raises(_KilledError):
      _save(tmp_path, 1)
  assert checkpoint_files.latest(tmp_path) == str(tmp_path / 'model.ckpt-1')


@pytest.mark.parametrize('failing', ['.data-00000-of-00001', '.json', '.index', 'checkpoint'])
def test_failing_renames_keep_saved_checkpoints(tmp_path, monkeypatch, failing):
  _save(tmp_path, 1)
  before = _files(tmp_path)
  replace = os.replace

  def failing_replace(source, target):
    if str(target).endswith(failing):
      raise PermissionError(13, 'Permission denied', str(target))
    replace(source, target)

  monkeypatch.setattr(os, 'replace', failing_replace)
  with pytest.raises(CheckpointError, match=r'Permission denied.*model.ckpt-1\.$'):
    _save(tmp_path, 2)
  after = _files(tmp_path)
  assert {name: after[name] for name in before} == before
  assert checkpoint_files.latest(tmp_path) == str(tmp_path / 'model.ckpt-1')


def test_metadata(tmp_path):
  metadata = {'class_names': ['Äpfel', ''], 'standing': {'best_value': 0.1}, 'flags': {'seed': 0}}
  prefix = _save(tmp_path, 1, metadata=metadata)
  assert checkpoint_files.read_metadata(prefix) == metadata
  assert json.loads((tmp_path / 'model.ckpt-1.json').read_text('utf-8')) == metadata


@pytest.mark.parametrize(('text', 'message'), [
  (b'', 'damaged'), (b'{"step": 1', 'damaged'), (b'\xff\xfe\x80', 'damaged'),
  (b'[' * 100_000, 'damaged'), (b'[1]', 'Received: list')])
def test_damaged_metadata(tmp_path, text, message):
  prefix = _save(tmp_path, 1)
  (tmp_path / 'model.ckpt-1.json').write_bytes(text)
  with pytest.raises(CheckpointError, match=f'model.ckpt-1.json.*{message}'):
    checkpoint_files.read_metadata(prefix)


@pytest.mark.parametrize('changed', [
  {'flags': [1]}, {'flags': None}, {'flags': {'preprocessing_name': [1]}}, {'image_size': 'abc'},
  {'image_size': 1_000_000}, {'image_size': -3}, {'class_names': 5}, {'class_names': [1, 2]},
  {'standing': {'x': 1}}, {'dataset': 5}, {'model_name': 3}, {'channels': 7},
  {'bad_images': {'train': 'a.jpg'}}, {'step': -1}, {'labels_offset': 'x'}, {'channels': 1.0},
  {'standing': {'best_step': 'x'}}, {'dataset': {'fingerprint': 'x'}},
  {'dataset': None}])
def test_metadata_of_wrong_types(tmp_path, changed):
  prefix = _save(tmp_path, 1, metadata={'model_name': 'lenet', **changed})
  with pytest.raises(CheckpointError, match=f'model.ckpt-1.json .*{next(iter(changed))}'):
    checkpoint_files.read_metadata(prefix)


@pytest.mark.parametrize('missing', ['standing', 'dataset', 'flags', 'step',
                                     'validation_fingerprint'])
def test_metadata_that_a_run_needs(tmp_path, missing):
  metadata = {'format': 1, 'standing': {}, 'flags': {}, 'step': 1, 'dataset': {
    'fingerprint': '', 'num_examples': 1, 'validation_fingerprint': None}}
  assert checkpoint_files.read_metadata(_save(tmp_path, 1, metadata=metadata), of_run=True)
  metadata.pop(missing, None)
  metadata.get('dataset', {}).pop(missing, None)
  prefix = _save(tmp_path, 2, metadata=metadata)
  assert checkpoint_files.read_metadata(prefix) == metadata
  with pytest.raises(CheckpointError, match=f'model.ckpt-2.json .*{missing}'):
    checkpoint_files.read_metadata(prefix, of_run=True)
