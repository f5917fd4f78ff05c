"""The networks by name, and everything that is known about each, in one record."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from errors import unknown_name
from nets import alexnet, cifarnet, layers, lenet, mobilenet_v1, network, resnet_v1, vgg


@dataclasses.dataclass(frozen=True)
class Net:
  """What is known about a network.

  Attributes:
    function: `function(images, num_classes, *, is_training, scope) -> (logits, end_points)`:
      logits [batch, num_classes], or features [batch, width] where num_classes is 0 or None.
    arg_scope: `arg_scope(weight_decay=…)`, what the function runs under.
    preprocessing: name of the recipe that its images are prepared with.
    head: scopes that depend on the number of classes, to exclude and retrain when fine-tuning.
    classes: number of classes of the published weights; None where there are none.
    xla: whether XLA was measured to make it faster. On CPUs it made every network that was tried
      slower (`results/`), those with depthwise convolutions by far.
    reference: address of the paper or the first implementation.
  """
  function: Callable
  arg_scope: Callable
  _: dataclasses.KW_ONLY
  preprocessing: str
  head: tuple[str, ...]
  classes: int | None = None
  xla: bool = False
  reference: str = ''

  @property
  def image_size(self) -> int:
    """Height and width of the images that the network was made for, in pixels."""
    return self.function.default_image_size


def _vgg(function: Callable, scope: str, classes: int | None) -> Net:
  return Net(function, vgg.vgg_arg_scope, preprocessing='vgg', head=(f'{scope}/fc8',),
             classes=classes, reference='https://arxiv.org/abs/1409.1556')


def _mobilenet_v1(function: Callable) -> Net:
  return Net(function, mobilenet_v1.mobilenet_v1_arg_scope, preprocessing='inception',
             head=('MobilenetV1/Logits',), classes=1001,
             reference='https://arxiv.org/abs/1704.04861')


NETS: dict[str, Net] = {
    'alexnet': Net(
        alexnet.alexnet, alexnet.alexnet_arg_scope, preprocessing='caffe', head=('alexnet/fc8',),
        classes=1000, reference='https://proceedings.neurips.cc/paper/2012/hash/'
        'c399862d3b9d6b76c8436e924a68c45b-Abstract.html'),
    'alexnet_v2': Net(
        alexnet.alexnet_v2, alexnet.alexnet_v2_arg_scope, preprocessing='inception',
        head=('alexnet_v2/fc8',), reference='https://arxiv.org/abs/1404.5997'),
    'cifarnet': Net(
        cifarnet.cifarnet, cifarnet.cifarnet_arg_scope, preprocessing='cifarnet',
        head=('CifarNet/logits',), reference='https://code.google.com/archive/p/cuda-convnet/'),
    'lenet': Net(
        lenet.lenet, lenet.lenet_arg_scope, preprocessing='lenet', head=('LeNet/fc4',),
        reference='http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf'),
    'mobilenet_v1': _mobilenet_v1(mobilenet_v1.mobilenet_v1),
    'mobilenet_v1_025': _mobilenet_v1(mobilenet_v1.mobilenet_v1_025),
    'mobilenet_v1_050': _mobilenet_v1(mobilenet_v1.mobilenet_v1_050),
    'mobilenet_v1_075': _mobilenet_v1(mobilenet_v1.mobilenet_v1_075),
    'resnet_v1_50': Net(
        resnet_v1.resnet_v1_50, resnet_v1.resnet_arg_scope, preprocessing='vgg',
        head=('resnet_v1_50/logits',), classes=1000, reference='https://arxiv.org/abs/1512.03385'),
    'vgg_16': _vgg(vgg.vgg_16, 'vgg_16', 1000),
    'vgg_19': _vgg(vgg.vgg_19, 'vgg_19', 1000),
    'vgg_a': _vgg(vgg.vgg_a, 'vgg_a', None),
}


def list_nets(pattern: str = '*') -> list[str]:
  """Lists the names that match a pattern with shell wildcards, such as `mobilenet_*`."""
  return sorted(fnmatch.filter(NETS, pattern))


def get_net(name: str) -> Net:
  """Finds a network's record.

  Raises:
    ValueError: if there is no network of this name.
  """
  if name not in NETS:
    raise unknown_name('network', name, NETS)
  return NETS[name]


def preprocessing_name(name: str) -> str:
  """Resolves the name of a preprocessing: that of a network means the network's own."""
  return NETS[name].preprocessing if name in NETS else name


def get_network_fn(name: str, num_classes: int | None, weight_decay: float = 0.0,
                   is_training: bool = False) -> Callable:
  """Makes a network's function with its arg scope, as TF-Slim's factory does.

  The function asks for its variables by `tf.compat.v1.get_variable`: it works in a `tf.Graph`,
  and everywhere else within a `nets.network.Network`, which `build_network` makes.

  Args:
    name: a name of `NETS`.
    num_classes: width of the logits; 0 or None gives the features before them instead.
    weight_decay: factor of the L2 regularizers.
    is_training: a Python bool.

  Returns:
    `network_fn(images, *, keys=None, **arguments) -> (logits, end_points)`, with the attribute
    `default_image_size`. `keys`, from `nets.noise.example_keys`, are needed where training is
    random; `arguments` are the network's own.

  Raises:
    ValueError: if there is no network of this name.
  """
  net = get_net(name)

  @functools.wraps(net.function)
  def network_fn(images: tf.Tensor, *, keys: tf.Tensor | None = None, **arguments):
    with layers.arg_scope(net.arg_scope(weight_decay=weight_decay)), \
        layers.arg_scope([layers.dropout, layers.drop_path], keys=keys):
      return net.function(images, num_classes, is_training=is_training, **arguments)

  return network_fn


def build_network(name: str, *, image_shape: Sequence[int], num_classes: int | None,
                  weight_decay: float = 0.0, trainable_scopes: Sequence[str] = (),
                  is_training: bool = False, dtype: tf.DType = tf.float32,
                  seed: int = 0) -> network.Network:
  """Builds a network with its variables; the arguments are those of `network.Network`.

  Raises:
    ValueError: if there is no network of this name, if the images are too small for it, or if a
      scope of `trainable_scopes` matches nothing.
  """
  net = get_net(name)
  return network.Network(net.function, net.arg_scope, image_shape=image_shape,
                         num_classes=num_classes, weight_decay=weight_decay,
                         trainable_scopes=trainable_scopes, is_training=is_training, dtype=dtype,
                         seed=seed)
