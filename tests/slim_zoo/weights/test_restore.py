"""Restoring: each variable is restored or excluded, or an error lists both sides."""

from __future__ import annotations

import types

import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.weights import restore
from slim_zoo.weights.reader import Checkpoint

_AVERAGE = '/ExponentialMovingAverage'
_NETWORK = {
  'net/conv1/weights': (3, 3, 2),
  'net/conv1/BatchNorm/gamma': (2,),
  'net/AuxLogits/fc/weights': (2, 5),
  'net/Logits/fc/weights': (4, 5),
  'net/Logits/fc/biases': (5,),
}
_HEAD = ('net/Logits', 'net/AuxLogits')


@pytest.fixture
def make(tmp_path):
  """`make({name: shape})` opens a checkpoint of random values."""
  def function(shapes, name='model.ckpt-1') -> Checkpoint:
    rng = np.random.default_rng(0)
    prefix = str(tmp_path / name)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(shapes),
                      shape_and_slices=[''] * len(shapes),
                      tensors=[rng.normal(size=s).astype(np.float32) for s in shapes.values()])
    return Checkpoint(prefix)
  return function


def _with(**changes) -> dict:
  """The network's shapes, changed; None removes one. `__` stands for a slash."""
  shapes = {**_NETWORK, **{k.replace('__', '/'): v for k, v in changes.items()}}
  return {name: shape for name, shape in shapes.items() if shape is not None}


_OTHER_HEAD = _with(net__Logits__fc__weights=(4, 7), net__Logits__fc__biases=(7,),
                    net__AuxLogits__fc__weights=(2, 7))


def test_everything_is_restored(make):
  checkpoint = make({**_NETWORK, 'net/conv1/weights/Momentum': (3, 3, 2), 'global_step': ()})
  report = restore.plan(checkpoint, _NETWORK)
  restore.check(report)
  assert [row.name for row in report.rows] == list(_NETWORK)
  assert report.names(restore.RESTORED) == list(_NETWORK)
  assert report.unused == ('global_step', 'net/conv1/weights/Momentum')
  assert report.summary() == '5 restored, 2 in the checkpoint unused'
  variables = {name: tf.Variable(tf.zeros(shape)) for name, shape in _NETWORK.items()}
  restore.apply(report, checkpoint, variables)
  for name, variable in variables.items():
    np.testing.assert_array_equal(variable, checkpoint.read(name))


@pytest.mark.parametrize(('shapes', 'exclude', 'statuses', 'unused'), [
  (_OTHER_HEAD, (), 'rrmmm', 3),
  (_OTHER_HEAD, ('net/Logits',), 'rrmee', 3),
  (_OTHER_HEAD, ('net/Logits', 'net/AuxLogits'), 'rreee', 3),
  (_OTHER_HEAD, ('net/*Logits',), 'rreee', 3),
  (_OTHER_HEAD, ('net/Logits/fc/biases',), 'rrmme', 3),
  (_NETWORK, ('net',), 'eeeee', 5),
  (_with(net__conv1__BatchNorm__gamma=None, net__conv1__biases=(2,)), (), 'r-rrr', 1),
  (_with(net__conv1__weights=(3, 3, 1)), (), 'mrrrr', 1),
  (_with(net__Logits__fc__biases=(1, 5)), (), 'rrrrm', 1),
])
def test_plan(make, shapes, exclude, statuses, unused):
  report = restore.plan(make(shapes), _NETWORK, exclude=exclude)
  letters = {restore.RESTORED: 'r', restore.EXCLUDED: 'e', restore.MISMATCHED: 'm',
             restore.MISSING: '-'}
  assert ''.join(letters[row.status] for row in report.rows) == statuses
  assert len(report.unused) == unused


def test_table_lists_both_sides(make):
  shapes = _with(net__Logits__fc__biases=(7,), net__conv1__weights=None)
  shapes['net/conv1/weights' + _AVERAGE] = _NETWORK['net/conv1/weights']
  report = restore.plan(make({**shapes, 'global_step': ()}), _NETWORK, exclude=['net/AuxLogits'])
  assert report.table().splitlines() == [
    f'# {report.checkpoint}',
    'restored   net/conv1/weights         3×3×2 <- net/conv1/weights/ExponentialMovingAverage',
    'restored   net/conv1/BatchNorm/gamma 2',
    'excluded   net/AuxLogits/fc/weights  2×5',
    'restored   net/Logits/fc/weights     4×5',
    'mismatched net/Logits/fc/biases      5 <- 7',
    'unused     global_step',
    'unused     net/AuxLogits/fc/weights',
    'unused     net/Logits/fc/biases',
    '# 3 restored, 1 excluded, 1 mismatched, 3 in the checkpoint unused; 1 from their moving '
    'averages',
  ]
  assert 'restored ' not in report.table(restored=False).replace('3 restored, ', '')


@pytest.mark.parametrize(('changes', 'exclude', 'flag'), [
  # Whole head scopes, not the layers in them.
  ({'net__Logits__fc__biases': (7,)}, (), 'net/Logits'),
  (_OTHER_HEAD, (), 'net/Logits,net/AuxLogits'),
  # Scopes already excluded stay.
  (_OTHER_HEAD, ('net/AuxLogits',), 'net/AuxLogits,net/Logits'),
  (_OTHER_HEAD, ('net/A*',), 'net/A*,net/Logits'),
  # Outside the head: the layer.
  ({'net__conv1__weights': (3, 3, 1)}, (), 'net/conv1'),
  ({'net__conv1__BatchNorm__gamma': None}, (), 'net/conv1/BatchNorm'),
  ({'net__conv1__BatchNorm__gamma': None, 'net__Logits__fc__biases': (1,)}, (),
   'net/Logits,net/conv1/BatchNorm'),
])
def test_error_names_the_flag_that_helps(make, changes, exclude, flag):
  checkpoint = make(_with(**changes))
  report = restore.plan(checkpoint, _NETWORK, exclude=exclude)
  with pytest.raises(ValueError, match='model.ckpt-1') as error:
    restore.check(report, exclude=exclude, head=_HEAD)
  lines = str(error.value).splitlines()
  assert any(line.endswith(f' --checkpoint_exclude_scopes={flag}') for line in lines)
  for name in [*report.names(restore.MISMATCHED), *report.names(restore.MISSING)]:
    assert any(line.startswith(f'  {name}: ') for line in lines)
  # The flag does help.
  scopes = flag.split(',')
  restore.check(restore.plan(checkpoint, _NETWORK, exclude=scopes), exclude=scopes, head=_HEAD)


def test_variable_without_a_scope(make):
  wanted = {'weights': (2,), 'biases': (3,)}
  checkpoint = make({'weights': (2,), 'biases': (4,)})
  with pytest.raises(ValueError, match=r'--checkpoint_exclude_scopes=biases\n'):
    restore.check(restore.plan(checkpoint, wanted))
  restore.check(restore.plan(checkpoint, wanted, exclude=['biases']))


@pytest.mark.parametrize(('ours', 'theirs', 'offset'), [(1001, 1000, 1), (1000, 1001, -1)])
def test_one_class_more_or_less_suggests_labels_offset(make, ours, theirs, offset):
  checkpoint = make(_with(net__Logits__fc__weights=(4, theirs), net__Logits__fc__biases=(theirs,)))
  wanted = _NETWORK | {'net/Logits/fc/weights': (4, ours), 'net/Logits/fc/biases': (ours,)}
  with pytest.raises(ValueError, match=rf'--labels_offset={offset}$'):
    restore.check(restore.plan(checkpoint, wanted), head=_HEAD)


def test_advice_replaces_the_flags(make):
  with pytest.raises(ValueError, match='4×7\n(.*\n)*Use other flags.$') as error:
    restore.check(restore.plan(make(_OTHER_HEAD), _NETWORK), advice='Use other flags.')
  assert '--' not in str(error.value)


def test_error_shows_the_shapes(make):
  with pytest.raises(ValueError, match=r'net/Logits/fc/weights: the network has 4×5, the '
                     r'checkpoint 4×7\n'):
    restore.check(restore.plan(make(_OTHER_HEAD), _NETWORK), head=_HEAD)


def test_ignoring_missing_variables(make):
  checkpoint = make(_with(net__conv1__weights=None, net__other=(1,)))
  report = restore.plan(checkpoint, _NETWORK)
  with pytest.raises(ValueError, match=r'net/conv1/weights: not in the checkpoint\n(.*\n)*'
                     r'.*--ignore_missing_vars\nUnused in the checkpoint:\n  net/other$'):
    restore.check(report)
  restore.check(report, ignore_missing=True)
  assert '1 missing' in report.summary()
  variables = {name: tf.Variable(tf.fill(shape, 9.0)) for name, shape in _NETWORK.items()}
  restore.apply(report, checkpoint, variables)
  assert set(variables['net/conv1/weights'].numpy().ravel()) == {9}
  assert 9 not in variables['net/Logits/fc/biases'].numpy()


def test_mismatched_shape_is_not_ignored(make):
  report = restore.plan(make(_OTHER_HEAD), _NETWORK)
  with pytest.raises(ValueError, match='does not fit') as error:
    restore.check(report, ignore_missing=True)
  assert '--ignore_missing_vars' not in str(error.value)


def test_checkpoint_of_another_network(make):
  with pytest.raises(ValueError, match='global_step, vgg_16') as error:
    restore.check(restore.plan(make({'vgg_16/fc8/weights': (1,), 'global_step': ()}), _NETWORK))
  assert 'checkpoint_exclude_scopes' not in str(error.value)


def test_long_lists_are_shortened(make):
  wanted = {'net/a/weights': (1,), **{f'net/layer{i}/weights': (1,) for i in range(100)}}
  with pytest.raises(ValueError, match='88') as error:
    restore.check(restore.plan(make({'net/a/weights': (1,)}), wanted))
  assert len(str(error.value).splitlines()) < 20


@pytest.mark.parametrize(('scope', 'closest'), [
  ('net/logits', 'net/Logits'), ('Logits', 'net/Logits'), ('net/AuxLogit', 'net/AuxLogits'),
  ('zzz', 'net')])
def test_unmatched_exclude_scope_suggests_the_closest(make, scope, closest):
  with pytest.raises(ValueError, match=rf"--checkpoint_exclude_scopes: the scope '{scope}' matches "
                     rf'no variable of the network. Closest scopes: .*{closest}'):
    restore.plan(make(_NETWORK), _NETWORK, exclude=['net/conv1', scope])


def test_moving_averages_are_used_by_default(make):
  shapes = {**_NETWORK, 'net/conv1/weights' + _AVERAGE: (3, 3, 2)}
  checkpoint = make(shapes)
  report = restore.plan(checkpoint, _NETWORK)
  assert report.num_averages == 1
  assert report.unused == ('net/conv1/weights',)
  assert report.summary().endswith('; 1 from their moving averages')
  variables = {name: tf.Variable(tf.zeros(shape)) for name, shape in _NETWORK.items()}
  restore.apply(report, checkpoint, variables)
  np.testing.assert_array_equal(variables['net/conv1/weights'],
                                checkpoint.read('net/conv1/weights' + _AVERAGE))
  np.testing.assert_array_equal(variables['net/Logits/fc/biases'],
                                checkpoint.read('net/Logits/fc/biases'))
  plain = restore.plan(checkpoint, _NETWORK,
                       restore.same_names(checkpoint, _NETWORK, use_averages=False))
  assert plain.num_averages == 0
  assert plain.unused == ('net/conv1/weights' + _AVERAGE,)


def test_damaged_file_changes_no_variable(make, tmp_path):
  checkpoint = make({'net/a': (3000,), 'net/b': (3000,)})
  data = tmp_path / 'model.ckpt-1.data-00000-of-00001'
  content = data.read_bytes()
  data.write_bytes(content[:-100])
  with pytest.raises(ValueError, match='model.ckpt-1'):
    Checkpoint(checkpoint.path)
  data.write_bytes(content[:-100] + bytes(100))  # `net/b` is at the end.
  wanted = {'net/a': (3000,), 'net/b': (3000,)}
  checkpoint = Checkpoint(checkpoint.path)
  assert checkpoint.read('net/a').shape == (3000,)
  variables = {name: tf.Variable(tf.zeros(shape)) for name, shape in wanted.items()}
  with pytest.raises(ValueError, match='model.ckpt-1'):
    restore.apply(restore.plan(checkpoint, wanted), checkpoint, variables)
  assert all(not variable.numpy().any() for variable in variables.values())


def test_other_types_are_cast(make):
  checkpoint = make({'step': ()})
  variable = tf.Variable(0, dtype=tf.int64)
  restore.apply(restore.plan(checkpoint, {'step': ()}), checkpoint, {'step': variable})
  assert variable.numpy() == int(checkpoint.read('step'))


def test_checkpoint_without_any_match_is_an_error(make):
  report = restore.plan(make({'vgg_16/fc8/weights': (1,)}), _NETWORK)
  with pytest.raises(ValueError, match='Nothing in it fits'):
    restore.check(report, ignore_missing=True)
  with pytest.raises(ValueError, match=r'It has: vgg_16\nSee --model_name\.'):
    restore.check(report, advice='See --model_name.')


def test_other_number_of_channels_names_the_flags(make):
  wanted = {'net/conv1/weights': (3, 3, 1, 8), 'net/fc/weights': (8, 5)}
  checkpoint = make({'net/conv1/weights': (3, 3, 3, 8), 'net/fc/weights': (8, 5)})
  with pytest.raises(ValueError, match='--convert_input_channels; .*--use_grayscale') as error:
    restore.check(restore.plan(checkpoint, wanted))
  assert 'exclude' not in str(error.value)
  restore.check(restore.plan(checkpoint, wanted, change_channels=True))


@pytest.mark.parametrize(('array', 'message'), [
  (np.ones(3, np.int8), 'net/w .*int8'),
  (np.array([1, np.nan, 2], np.float32), 'net/w'),
  (np.array([1, np.inf, 2], np.float16), 'net/w')])
def test_unusable_numbers_are_rejected(array, message):
  source = types.SimpleNamespace(path='x', shapes={'net/w': (3,)}, read=lambda name: array)
  variables = {'net/w': tf.Variable([7.0, 7, 7])}
  with pytest.raises(ValueError, match=message):
    restore.apply(restore.plan(source, {'net/w': (3,)}), source, variables)
  assert variables['net/w'].numpy().tolist() == [7, 7, 7]


def test_warning_for_unused_arrays(make):
  shapes = {**_NETWORK, 'net/se/weights': (3, 3), 'net/bn/num_batches_tracked': (),
            'net/AuxLogits/conv/weights': (1,)}
  report = restore.plan(make(shapes), _NETWORK)
  assert 'Warning: 1 arrays of' in restore.describe_unused(report)
  assert 'net/se/weights' in restore.describe_unused(report)
  assert restore.describe_unused(restore.plan(make(shapes), _NETWORK, exclude=_HEAD)) == ''
