"""Our checkpoints can be restored in TF-Slim's graphs, and TF-Slim's here."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_slim
from tf_slim.nets import alexnet

from nets import nets_factory
from slim_zoo.training import checkpoints, optimizers, schedules, trainer
from slim_zoo.weights import checkpoint_files, restore
from slim_zoo.weights.reader import Checkpoint

_CLASSES = 7
pytestmark = pytest.mark.filterwarnings('ignore:`layer.apply` is deprecated')


def _images():
  return np.random.default_rng(0).normal(size=[2, 224, 224, 3]).astype(np.float32)


def _slim_graph():
  images = tf.compat.v1.placeholder(tf.float32, [None, 224, 224, 3])
  with tf_slim.arg_scope(alexnet.alexnet_v2_arg_scope()):
    logits, _ = alexnet.alexnet_v2(images, _CLASSES, is_training=False)
  return images, logits


def _build(seed):
  return nets_factory.build_network('alexnet_v2', image_shape=[224, 224, 3], num_classes=_CLASSES,
                                    is_training=True, seed=seed)


def _logits(network):
  return network(tf.constant(_images()), is_training=False)[0].numpy()


def _compare(received, expected):
  print(f'\nlargest difference of the logits: {np.abs(received - expected).max():.2g}, '
        f'standard deviation {expected.std():.2g}')
  np.testing.assert_allclose(received, expected, atol=1e-5)


@pytest.mark.slow
def test_our_checkpoint_restores_in_tf_slims_graph(tmp_path):
  made = trainer.Trainer(_build(0), optimizer='momentum', settings=optimizers.Settings(),
                         schedule=schedules.Schedule('fixed', 0.01), batch_size=2)
  batch = {'image': _images(), 'label': np.array([1, 4], np.int32),
           'weight': np.ones(2, np.float32), 'id': np.arange(2)}
  made.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
  prefix = checkpoints.save(tmp_path, 1, made.state(), metadata={}, max_to_keep=1)

  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    images, logits = _slim_graph()
    step = tf.compat.v1.train.get_or_create_global_step()
    names = {v.op.name: v for v in tf.compat.v1.global_variables()}
    # The slots have the names of TensorFlow 1's optimizer, too.
    tf.compat.v1.train.MomentumOptimizer(0.01, 0.9).minimize(tf.reduce_sum(logits))
    names |= {v.op.name: v for v in tf.compat.v1.global_variables()}
    assert 'alexnet_v2/conv1/weights/Momentum' in names
    tf.compat.v1.train.Saver(names).restore(session, prefix)
    received = session.run(logits, {images: _images()})
    assert session.run(step) == 1
  _compare(received, _logits(made.network))


@pytest.mark.slow
def test_tf_slims_checkpoint_restores_here(tmp_path):
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    tf.compat.v1.set_random_seed(1)
    images, logits = _slim_graph()
    session.run(tf.compat.v1.global_variables_initializer())
    expected = session.run(logits, {images: _images()})
    prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / 'model.ckpt'), global_step=5)

  network, checkpoint = _build(2), Checkpoint(checkpoint_files.latest(tmp_path))
  assert checkpoint.path == prefix
  report = restore.plan(checkpoint, {n: v.shape for n, v in network.variables.items()})
  restore.check(report)
  restore.apply(report, checkpoint, network.variables)
  assert report.names(restore.RESTORED) == list(network.variables)
  _compare(_logits(network), expected)
