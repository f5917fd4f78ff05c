"""The nodes of frozen graphs, compared with those of tf-slim's own networks."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tf_slim import nets

from nets import nets_factory
from slim_zoo.export import frozen_graph
from slim_zoo.export.model import Model

_OTHERS = {'alexnet_v2': nets.alexnet.alexnet_v2, 'overfeat': nets.overfeat.overfeat,
           **{f'inception_v{i}': getattr(getattr(nets, f'inception_v{i}'), f'inception_v{i}')
              for i in (1, 2, 3)},
           # Not ResNet V2, whose batch norm does not run on TensorFlow 2.21.
           **{f'resnet_v1_{layers}': getattr(nets.resnet_v1, f'resnet_v1_{layers}')
              for layers in (50, 101, 152, 200)},
           **{name: getattr(nets.vgg, name) for name in ('vgg_a', 'vgg_16', 'vgg_19')}}
_QUICK = ('alexnet_v2', 'inception_v1', 'resnet_v1_50', 'vgg_a')


def _output_of_tf_slim(name: str) -> str:
  with tf.Graph().as_default():
    size = nets_factory.get_net(name).image_size
    images = tf.compat.v1.placeholder(tf.float32, [None, size, size, 3], 'input')
    logits, end_points = _OTHERS[name](images, num_classes=5, is_training=False)
    found = end_points.get('Predictions', end_points.get('predictions'))
    return (logits if found is None else found).op.name


# tf-slim's own use of TensorFlow.
@pytest.mark.filterwarnings('ignore:`layer.apply` is deprecated')
@pytest.mark.parametrize('name', [
  name if name in _QUICK else pytest.param(name, marks=pytest.mark.thorough)
  for name in sorted(_OTHERS)])
def test_output_has_the_name_of_tf_slim(name):
  assert _output_of_tf_slim(name) == nets_factory.get_net(name).output_node


@pytest.mark.parametrize(('name', 'is_logits'), [
  ('lenet', False), pytest.param('alexnet_v2', True, marks=pytest.mark.slow),
  ('efficientnet_lite0', None)])
def test_graph_has_this_output(tmp_path, name, is_logits):
  net = nets_factory.get_net(name)
  size, channels = (28, 1) if name == 'lenet' else (224 if is_logits else 32, 3)
  network = nets_factory.build_network(name, image_shape=[size, size, channels], num_classes=5)
  frozen_graph.write(Model(network, size, channels, net.preprocessing, None, name=name),
                     tmp_path / 'model.pb')
  definition = tf.compat.v1.GraphDef.FromString((tmp_path / 'model.pb').read_bytes())
  nodes = {node.name: node for node in definition.node}
  assert {'input', 'logits', 'probabilities'} <= nodes.keys()
  if is_logits is None:
    assert not net.output_node
    return
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    tf.graph_util.import_graph_def(definition, name='')
    image = tf.random.stateless_uniform([1, size, size, channels], [1, 2])
    names = ['logits:0' if is_logits else 'probabilities:0', f'{net.output_node}:0']
    expected, found = session.run(names, {'input:0': session.run(image)})
  assert (expected == found).all()
