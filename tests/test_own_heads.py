"""--head and --head_from, given as flags and recorded in checkpoints."""

from __future__ import annotations

import types

import pytest
import tensorflow as tf

from nets import nets_factory
from slim_zoo.config import flag_values
from slim_zoo.evaluation import classifier
from slim_zoo.features import trunks
from slim_zoo.training import checkpoints, data
from slim_zoo.training import start as begin_with
from slim_zoo.weights import kept_heads

_FUNCTION = """
from nets import layers

def head(net, num_classes, is_training):
  net = layers.dropout(layers.flatten(net), {keep_prob})
  return layers.fully_connected(net, num_classes, activation_fn=None, scope='fc')
"""


@pytest.fixture
def start(in_process, monkeypatch, tmp_path):
  """Starts a training; returns the resolved flags and the scopes that a warm start excludes.

  `start({flag: recorded value}, *flags, resumes=…)`: the checkpoint's metadata name `alexnet_v2`
  unless they state another network, and it has only `variables`.
  """
  with in_process('train_image_classifier') as run:

    def begin(kept, *flags, resumes=False, variables=None):
      seen = {}

      def open_data(config, *, head, saved, **others):
        exclude = config.weights.checkpoint_exclude_scopes
        seen.update(options={**flag_values.kept_of(config), **head.kept},
                    excluded=begin_with.excluded_scopes(exclude, head, saved))
        raise InterruptedError

      monkeypatch.setattr(data, 'open_data', open_data)
      kept = {'model_name': 'alexnet_v2', **kept}
      folder = tmp_path / ('run' if resumes else 'before')
      checkpoints.save(folder, 3, variables or {'global_step': tf.constant(3, tf.int64)},
                       metadata={'model_name': kept['model_name'], 'flags': kept}, max_to_keep=1)
      arguments = [] if resumes else [f'--checkpoint_path={folder}']
      with pytest.raises(InterruptedError):
        run(f'--train_dir={tmp_path}/run', *arguments, *flags)
      return seen['options'], seen['excluded']

    yield begin


@pytest.mark.parametrize(('kept', 'flags', 'head_from', 'excluded'), [
  # The default, given explicitly by neither, one, or the other.
  (('fc', 'features'), ['--head=fc'], 'features', ()),
  (('fc', None), ['--head=fc', '--head_from=features'], 'features', ()),
  (('fc', None), [], 'features', ()),
  (('fc', 'features'), ['--head=fc', '--head_from='], 'features', ()),
  # The same end point by its full name and by a short one; older checkpoints have either.
  (('pool,fc', 'alexnet_v2/pool5'), ['--head=pool,fc', '--head_from=pool5'], 'alexnet_v2/pool5',
   ()),
  (('pool,fc', 'pool5'), [], 'alexnet_v2/pool5', ()),
  (('fc', 'relu6'), ['--head_from=fc6'], 'alexnet_v2/fc6', ()),
  # The same head keeps its start; a different one does not.
  (('pool,fc', 'pool5'), ['--head=pool, fc'], 'alexnet_v2/pool5', ()),
  (('pool,fc', 'pool5'), ['--head=fc'], 'features', ('head',)),
  (('fc', 'features'), ['--head_from=fc6'], 'alexnet_v2/fc6', ('head',)),
  (('fc', 'fc6'), ['--head=', '--head_from='], None, ()),
])
def test_equivalent_spellings_of_a_trained_head(start, kept, flags, head_from, excluded):
  options, found = start(dict(zip(('head', 'head_from'), kept, strict=True)), *flags)
  assert (options['head_from'], found) == (head_from, excluded)


@pytest.mark.parametrize(('kept', 'flag', 'head_from'), [
  ('pool5', 'alexnet_v2/pool5', 'alexnet_v2/pool5'),
  ('alexnet_v2/pool5', 'pool5', 'alexnet_v2/pool5'),
  ('features', '', 'features'), (None, 'features', 'features')])
def test_run_resumes_with_equivalent_end_point_names(start, kept, flag, head_from):
  options, _ = start({'head': 'fc', 'head_from': kept}, f'--head_from={flag}', resumes=True)
  assert options['head_from'] == head_from


def test_head_on_a_classifier_gets_its_width(start):
  weights = {'LeNet/fc4/weights': tf.zeros([1024, 12]), 'LeNet/fc4/biases': tf.zeros([12])}
  lenet = {'model_name': 'lenet'}
  for flags, classes in ((['--head=fc', '--head_from=Logits'], 12), (['--head=fc'], None)):
    assert start(lenet, *flags, variables=weights)[0]['trunk_classes'] == classes
  kept = {**lenet, 'head': 'fc', 'head_from': 'Logits', 'trunk_classes': 12}
  assert start(kept, resumes=True)[0]['trunk_classes'] == 12
  network = nets_factory.build_network('lenet', head='fc', head_from='Logits', trunk_classes=12,
                                       image_shape=[28, 28, 1], num_classes=3)
  assert network.variables['LeNet/fc4/biases'].shape == [12]


def test_run_resumes_only_with_an_unchanged_function(start, tmp_path, capsys):
  file = tmp_path / 'mine.py'
  flag = f'--head={file}:head'
  file.write_text(_FUNCTION.format(keep_prob=0.5))
  kept = start({}, flag)[0]
  assert kept['head'] == 'mine.py:head'
  again = start(kept, flag, resumes=True)[0]
  assert again['head_digest'] == kept['head_digest']
  older = {name: value for name, value in kept.items() if name != 'head_digest'}
  assert start(older, flag, resumes=True)[0]['head_digest'] == kept['head_digest']
  assert 'Warning' not in capsys.readouterr().out
  file.write_text(_FUNCTION.format(keep_prob=0.9))
  with pytest.raises(ValueError, match='--head=.*/run/model.ckpt-3'):
    start(kept, flag, resumes=True)


def test_other_programs_warn_of_a_new_function(start, in_process, monkeypatch, tmp_path, capsys):
  file = tmp_path / 'mine.py'
  file.write_text(_FUNCTION.format(keep_prob=0.5))
  kept = start({}, f'--head={file}:head')[0]
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other' / 'mine.py').write_text(_FUNCTION.format(keep_prob=0.9))
  checkpoints.save(tmp_path / 'trained', 0, {'x': tf.zeros([])}, metadata={
    'model_name': 'alexnet_v2', 'class_names': ['ant', 'bee'], 'flags': kept}, max_to_keep=1)

  def build_network(*arguments, **named):
    raise InterruptedError

  monkeypatch.setattr(classifier, 'build_network', build_network)
  with in_process('export_model') as run:
    for folder, warnings in ((tmp_path, 0), (tmp_path / 'other', 1)):
      capsys.readouterr()
      with pytest.raises(InterruptedError):
        run(f'--checkpoint_path={tmp_path}/trained', f'--head={folder}/mine.py:head',
            f'--output_path={tmp_path}/exported')
      assert capsys.readouterr().out.count('Warning: --head=') == warnings


def test_head_that_does_not_fit_the_network_is_rejected():
  network = types.SimpleNamespace(variables={
    'LeNet/conv1/weights': tf.Variable(tf.zeros([5, 5, 1, 32])),
    'head/fc/weights': tf.Variable(tf.zeros([4, 2])),
    'head/norm/gamma': tf.Variable(tf.zeros([4]))})
  trunk = trunks.Trunk(network, {'model_name': 'lenet'}, kept_heads.Head('mine.py:head'),
                       ['a', 'b'])
  with pytest.raises(ValueError, match=r"--head=mine.py:head .*: \{'head/norm/gamma': \(4,\)\}\. "
                     r"Received: \{\}"):
    trunk.check({'head/fc/weights': tf.Variable(tf.zeros([4, 2]))})
