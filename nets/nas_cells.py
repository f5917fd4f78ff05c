"""Parts of NASNet and PNASNet, the networks found by architecture search.

Such a network is a stem, a sequence of cells, and a classifier. The inputs of a cell are the
outputs of the two cells before it. A cell computes states: each is the sum of two operations on the
inputs or on earlier states. The operations are data (`Cell`), as is the sequence of cells
(`Placement`); `search_network` builds the network that they describe.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from nets import heads, layers


@dataclasses.dataclass(frozen=True)
class Cell:
  """A cell found by the search.

  Attributes:
    blocks: for each new state, two pairs (state, operation) whose results are added. State 0 is the
      output of the previous cell, state 1 that of the cell before it, state 2 the result of the
      first block, and so on.
    outputs: the states that are concatenated as the cell's output.
  """
  blocks: tuple
  outputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Placement:
  """A cell's place in a network.

  Attributes:
    scope: name of the cell.
    end_point: key of its output.
    cell: the cell.
    depth: number of channels of each of its states.
    stride: of the operations on its two inputs.
    skipped: number of cells between its two inputs.
  """
  scope: str
  end_point: str
  cell: Cell
  depth: int
  stride: int = 1
  skipped: int = 0


@dataclasses.dataclass(frozen=True)
class Architecture:
  """A network.

  Attributes:
    stem: `stem(images) -> (tensor, stride)`, the layers before the first cell.
    placements: the cells.
    auxiliary_cell: the number of the cell that the auxiliary classifier follows in training.
    smallest: minimum height and width of the images.
  """
  stem: Callable
  placements: tuple[Placement, ...]
  auxiliary_cell: int
  smallest: int


def search_arg_scope(weight_decay: float, *, batch_norm_decay: float, batch_norm_epsilon: float):
  """The arg scope of these networks: L2 on all weights, biases in the classifiers only."""
  with layers.arg_scope(
      [layers.conv2d, layers.separable_conv2d, layers.fully_connected],
      weights_initializer=layers.variance_scaling_initializer(mode='FAN_OUT'),
      weights_regularizer=layers.l2_regularizer(weight_decay), activation_fn=None), \
      layers.arg_scope([layers.conv2d, layers.separable_conv2d], biases_initializer=None), \
      layers.arg_scope([layers.batch_norm], decay=batch_norm_decay, epsilon=batch_norm_epsilon,
                       scale=True) as sc:
    return sc


# Operations: `operation(inputs, depth, stride)` -> [batch, height / stride, width / stride, depth].


def _convolve(inputs, depth: int, *, scope: str, batch_norm: str, **arguments) -> tf.Tensor:
  """Applies a convolution, by default 1×1, and batch norm, each in a scope of its own."""
  net = layers.conv2d(inputs, depth, **{'kernel_size': 1, **arguments}, scope=scope)
  return layers.batch_norm(net, scope=batch_norm)


def identity(inputs: tf.Tensor, depth: int, stride: int) -> tf.Tensor:
  """Returns the inputs, or applies a 1×1 convolution if depth or size change."""
  if stride == 1 and inputs.shape[-1] == depth:
    return inputs
  return _convolve(tf.nn.relu(inputs), depth, stride=stride, scope='1x1', batch_norm='bn_1')


def _separable(inputs: tf.Tensor, depth: int, stride: int, *, size: int) -> tf.Tensor:
  """Two depthwise separable convolutions, each after a ReLU and before batch norm."""
  net = inputs
  for i in (1, 2):
    net = layers.separable_conv2d(tf.nn.relu(net), depth, size, stride=stride if i == 1 else 1,
                                  scope=f'separable_{size}x{size}_{i}')
    net = layers.batch_norm(net, scope=f'bn_sep_{size}x{size}_{i}')
  return net


def _pool(inputs: tf.Tensor, depth: int, stride: int, *, pool: Callable) -> tf.Tensor:
  net = pool(inputs, 3, stride, padding='SAME')
  if net.shape[-1] == depth:
    return net
  return _convolve(net, depth, scope='1x1', batch_norm='bn_1')


average_3x3 = functools.partial(_pool, pool=layers.avg_pool2d)
maximum_3x3 = functools.partial(_pool, pool=layers.max_pool2d)
separable_3x3 = functools.partial(_separable, size=3)
separable_5x5 = functools.partial(_separable, size=5)
separable_7x7 = functools.partial(_separable, size=7)


def factorized_reduction(inputs: tf.Tensor, depth: int) -> tf.Tensor:
  """Halves height and width without discarding the skipped pixels.

  Half of the output channels are computed from even rows and columns, the others from odd ones,
  with zeros where an image of odd size has none.

  Args:
    inputs: [batch, height, width, channels].
    depth: number of output channels.

  Returns:
    [batch, ceil(height / 2), ceil(width / 2), depth].
  """
  even = layers.conv2d(inputs, depth // 2, 1, 2, scope='path1_conv')
  odd = tf.pad(inputs, [[0, 0], [0, 1], [0, 1], [0, 0]])[:, 1::2, 1::2]
  odd = layers.conv2d(odd, depth - depth // 2, 1, scope='path2_conv')
  return layers.batch_norm(tf.concat([even, odd], axis=3), scope='final_path_bn')


def _fit(inputs: tf.Tensor, depth: int, is_larger: bool) -> tf.Tensor:
  """Gives the cell's second input the size of the first, and a depth."""
  if is_larger:
    return factorized_reduction(tf.nn.relu(inputs), depth)
  if inputs.shape[-1] != depth:
    return _convolve(tf.nn.relu(inputs), depth, scope='prev_1x1', batch_norm='prev_bn')
  return inputs


def _output(states: Sequence[tf.Tensor], cell: Cell, depth: int) -> tf.Tensor:
  """Concatenates a cell's output states."""
  states = list(states)
  with tf.compat.v1.variable_scope('cell_output'):
    for i in cell.outputs:
      if states[i].shape[-1] != depth:  # The stem, which is the first cell's input twice.
        with tf.compat.v1.variable_scope(f'reduction_{i}'):
          states[i] = _convolve(states[i], depth, scope='path_conv', batch_norm='path_bn')
    return tf.concat([states[i] for i in cell.outputs], axis=3)


def apply_cell(inputs: tf.Tensor, before: tf.Tensor | None, placement: Placement, *,
               before_is_larger: bool, drop_path: Callable) -> tf.Tensor:
  """Applies a cell.

  Args:
    inputs: [batch, height, width, channels], the output of the previous cell.
    before: output of the cell before that; None means that `inputs` is used twice.
    placement: the cell, its depth and stride.
    before_is_larger: whether `before` is twice as high and wide as the inputs.
    drop_path: applied to the result of every operation except the identity, in order.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), depth * number of output states].
  """
  cell, depth = placement.cell, placement.depth

  def apply(operation: Callable, state: int, scope: str) -> tf.Tensor:
    stride = placement.stride if state < 2 else 1  # States are already reduced.
    with tf.compat.v1.variable_scope(scope):
      net = operation(states[state], depth, stride)
      return net if operation is identity else drop_path(net)

  with tf.compat.v1.variable_scope(placement.scope):
    before = inputs if before is None else _fit(before, depth, before_is_larger)
    states = [_convolve(tf.nn.relu(inputs), depth, scope='1x1', batch_norm='beginning_bn'), before]
    for i, ((left, left_operation), (right, right_operation)) in enumerate(cell.blocks):
      with tf.compat.v1.variable_scope(f'comb_iter_{i}'):
        states.append(apply(left_operation, left, 'left') + apply(right_operation, right, 'right'))
    return _output(states, cell, depth)


def large_image_stem(images: tf.Tensor, *, depth: int) -> tuple[tf.Tensor, int]:
  """Applies a convolution of stride 2; returns its output and its stride."""
  net = _convolve(images, depth, kernel_size=3, stride=2, padding='VALID', scope='conv0',
                  batch_norm='conv0_bn')
  return net, 2


def small_image_stem(images: tf.Tensor, *, depth: int) -> tuple[tf.Tensor, int]:
  """Applies a convolution of stride 1; returns its output and its stride."""
  return _convolve(images, depth, kernel_size=3, scope='l1_stem_3x3', batch_norm='l1_stem_bn'), 1


def stem_placements(cell: Cell, depth: int) -> tuple[Placement, ...]:
  """Returns the two reduction cells after the stem, with a quarter and half of the depth."""
  return tuple(Placement(f'cell_stem_{i}', 'Stem', cell, depth * 2**i // 4, stride=2)
               for i in (0, 1))


def scheduled_keep_prob(position: int, num_cells: int, keep_prob: float) -> float:
  """Returns a cell's final probability of keeping a path, linear in its position.

  `layers.scheduled_drop_path` also decreases it linearly from one during training. Together they
  are version 3 of TF-Slim's drop path, the one that it uses.

  Args:
    position: of the cell, from 0, including stem and reduction cells.
    num_cells: total number of cells.
    keep_prob: the probability in the last cell.
  """
  return 1 - (position + 1) / num_cells * (1 - keep_prob)


def _drop_path(placements: Sequence[Placement], keep_prob: float, *, ramp_steps: int,
               dtype: tf.DType) -> Callable:
  """Returns a function to apply to each path in order; it drops the path for some examples."""
  if keep_prob == 1:
    return lambda net: net
  keep_probs = [scheduled_keep_prob(position, len(placements), keep_prob)
                for position, placement in enumerate(placements)
                for block in placement.cell.blocks
                for _, operation in block if operation is not identity]
  factors = iter(layers.scheduled_drop_path(keep_probs, ramp_steps=ramp_steps, dtype=dtype))
  return lambda net: net * next(factors)


def _auxiliary_head(net: tf.Tensor, num_classes: int, *, end_points: dict, scope: str) -> None:
  """Adds the auxiliary classifier, as the end point `AuxLogits`.

  Its second kernel covers its input, as in TF-Slim: its shape depends on the image size.
  """
  height, width = layers.spatial_size(net)
  if height is None or width is None:
    raise ValueError(f'{scope}: the shape of the auxiliary classifier depends on the size of the '
                     'images. Expected a static height and width. Received images without.')
  with tf.compat.v1.variable_scope(f'{scope}/aux_logits'):
    net = layers.avg_pool2d(tf.nn.relu(net), [min(5, height), min(5, width)], 3)
    net = tf.nn.relu(_convolve(net, 128, scope='proj', batch_norm='aux_bn0'))
    net = tf.nn.relu(_convolve(net, 768, kernel_size=layers.spatial_size(net), padding='VALID',
                               scope='Conv', batch_norm='aux_bn1'))
    end_points['AuxLogits'] = layers.fully_connected(heads.squeeze(net), num_classes, scope='FC')


def search_network(images: tf.Tensor, num_classes: int | None = 1001,
                   is_training: bool = True, *, architecture: Architecture,
                   dropout_keep_prob: float,
                   drop_path_keep_prob: float, total_training_steps: int,
                   scope: str | None = None) -> tuple[tf.Tensor, dict]:
  """Builds a network from its description.

  Args:
    images: [batch, height, width, channels] of any size from the architecture's smallest on.
    num_classes: number of classes; 0 or None returns features instead of logits.
    architecture: what to build.
    is_training: a Python bool; whether batch norm uses the batch's own statistics, whether there
      are dropout and drop path, and with classes the auxiliary classifier.
    dropout_keep_prob: share of the features that dropout keeps.
    drop_path_keep_prob: probability that the last cell keeps an operation's result for an example
      at the end of training; it is higher in earlier cells, and one in all cells at the start.
    total_training_steps: number of steps after which the probability is constant.
    scope: name of the network; None, as in TF-Slim, means no prefix before the layers' names.

  Returns:
    Logits [batch, num_classes] or features [batch, width], and the end points `Stem`, `Cell_0` and
    so on, `global_pool`, `Logits`, `Predictions`, and in training `AuxLogits`.
  """
  heads.check_images(images, architecture.smallest, scope or 'the network')
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope or tf.compat.v1.get_variable_scope()), \
      layers.arg_scope([layers.batch_norm, layers.dropout], is_training=is_training):
    drop_path = _drop_path(architecture.placements, drop_path_keep_prob if is_training else 1,
                           ramp_steps=total_training_steps, dtype=images.dtype)
    net, stride = architecture.stem(images)
    end_points['Stem'] = net
    outputs = [(None, stride), (net, stride)]
    for placement in architecture.placements:
      before, before_stride = outputs[-2 - placement.skipped]
      net = apply_cell(net, before, placement, before_is_larger=before_stride < stride,
                       drop_path=drop_path)
      stride *= placement.stride
      outputs.append((net, stride))
      end_points[placement.end_point] = net
      if is_training and num_classes and placement.scope == f'cell_{architecture.auxiliary_cell}':
        _auxiliary_head(net, num_classes, end_points=end_points,
                        scope=f'aux_{architecture.auxiliary_cell}')
    with tf.compat.v1.variable_scope('final_layer'):
      net = heads.squeeze(heads.global_pool(tf.nn.relu(net), end_points))
      if not num_classes:
        return net, end_points
      net = layers.dropout(net, dropout_keep_prob, scope='dropout')
      return heads.add_predictions(layers.fully_connected(net, num_classes, scope='FC'), end_points)
