"""The networks, each with its record, by name."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from collections.abc import Callable

import tensorflow as tf

from files.errors import unknown_name
from nets import (
  alexnet,
  cifarnet,
  custom_head,
  efficientnet_lite,
  end_points,
  extractors,
  inception_resnet_v2,
  inception_v1,
  inception_v2,
  inception_v3,
  inception_v4,
  layers,
  lenet,
  mobilenet_v1,
  nasnet,
  network,
  overfeat,
  pnasnet,
  resnet_v1,
  resnet_v2,
  squeezenet,
  vgg,
)
from nets.mobilenet import mobilenet_v2, mobilenet_v3
from nets.record import Net, Published
from nets.variants import NetFunction


def _efficientnet_lite(function: NetFunction, top_1: float) -> Net:
  name = function.__name__
  return Net(function, efficientnet_lite.efficientnet_lite_arg_scope, preprocessing='inception',
             head=(f'{name}/logits',), published=Published(name.replace('_', '-'), 1000, top_1,
                                                           preprocessing='efficientnet_lite'),
             reference='https://arxiv.org/abs/1905.11946')


def _vgg(function: NetFunction, scope: str, published: Published | None) -> Net:
  return Net(function, vgg.vgg_arg_scope, preprocessing='vgg', head=(f'{scope}/fc8',),
             output_node=f'{scope}/fc8/squeezed', published=published, codes=f'{scope}/fc6', reference='https://arxiv.org/abs/1409.1556')


def _inception(function: NetFunction, arg_scope: Callable, head: tuple[str, ...], *,
               published: Published, reference: str, output_node: str = '') -> Net:
  scope = head[0].partition('/')[0]
  return Net(function, arg_scope, preprocessing='inception', head=head, published=published,
             output_node=output_node or f'{scope}/Predictions/Reshape_1', reference=reference)


def _mobilenet_v1(function: NetFunction, published: Published) -> Net:
  return Net(function, mobilenet_v1.mobilenet_v1_arg_scope, preprocessing='inception',
             head=('MobilenetV1/Logits',), output_node='MobilenetV1/Predictions/Reshape_1',
             published=published,
             reference='https://arxiv.org/abs/1704.04861')


def _architecture_search(function: NetFunction, arg_scope: Callable,
                         published: Published | None, *, reference: str,
                         preprocessing: str = 'inception',
                         classes: int = 1000) -> Net:
  return Net(function, arg_scope, preprocessing=preprocessing, head=('final_layer', 'aux_*'),
             output_node='final_layer/predictions', published=published, classes=classes,
             reference=reference)


def _mobilenet_v2(function: NetFunction, published: Published) -> Net:
  return Net(function, mobilenet_v2.mobilenet_v2_arg_scope, preprocessing='inception',
             head=('MobilenetV2/Logits',), output_node='MobilenetV2/Predictions/Reshape_1',
             published=published,
             reference='https://arxiv.org/abs/1801.04381')


def _mobilenet_v3(function: NetFunction, published: Published, scope: str = 'MobilenetV3') -> Net:
  return Net(function, mobilenet_v3.mobilenet_v3_arg_scope, preprocessing='inception',
             head=(f'{scope}/Logits',), output_node=f'{scope}/Predictions/Reshape_1',
             published=published,
             reference='https://arxiv.org/abs/1905.02244')


def _resnet_v1(function: NetFunction, published: Published | None, *,
               arg_scope: Callable = resnet_v1.resnet_arg_scope,
               preprocessing: str = 'vgg') -> Net:
  return Net(function, arg_scope, preprocessing=preprocessing,
             head=(f'{function.__name__}/logits',), published=published,
             output_node=f'{function.__name__}/predictions/Reshape_1',
             reference='https://arxiv.org/abs/1512.03385')


def _resnet_keras(function: NetFunction, published: Published) -> Net:
  return _resnet_v1(function, published, arg_scope=resnet_v1.resnet_keras_arg_scope,
                    preprocessing='resnet_keras')


def _resnet_torchvision(function: NetFunction, published: Published) -> Net:
  return _resnet_v1(function, published, preprocessing='torchvision')


def _resnet_v2(function: NetFunction, published: Published | None) -> Net:
  return Net(function, resnet_v2.resnet_arg_scope, preprocessing='vgg',
             head=(f'{function.__name__}/logits',), published=published,
             output_node=f'{function.__name__}/predictions/Reshape_1',
             reference='https://arxiv.org/abs/1603.05027')


def _squeezenet(function: NetFunction, published: Published) -> Net:
  return Net(function, squeezenet.squeezenet_arg_scope, preprocessing='caffe',
             head=(f'{function.__name__}/conv10',), published=published,
             reference='https://arxiv.org/abs/1602.07360')


NETS: dict[str, Net] = {
    'alexnet': Net(
        alexnet.alexnet, alexnet.alexnet_arg_scope, preprocessing='caffe', head=('alexnet/fc8',),
        codes='alexnet/fc7',
        published=Published('bvlc_alexnet', 1000, 57.1, 80.2),
        reference='https://proceedings.neurips.cc/paper/2012/hash/'
        'c399862d3b9d6b76c8436e924a68c45b-Abstract.html'),
    'alexnet_torchvision': Net(
        alexnet.alexnet_torchvision, alexnet.alexnet_torchvision_arg_scope,
        preprocessing='torchvision', head=('alexnet_torchvision/fc8',),
        codes='alexnet_torchvision/fc7',
        published=Published('torchvision alexnet-owt-7be5be79', 1000, 56.522, 79.066),
        reference='https://arxiv.org/abs/1404.5997'),
    'alexnet_v2': Net(
        alexnet.alexnet_v2, alexnet.alexnet_v2_arg_scope, preprocessing='inception',
        head=('alexnet_v2/fc8',), codes='alexnet_v2/fc7', output_node='alexnet_v2/fc8/squeezed',
        reference='https://arxiv.org/abs/1404.5997'),
    'caffenet': Net(
        alexnet.caffenet, alexnet.alexnet_arg_scope, preprocessing='caffe', head=('caffenet/fc8',),
        codes='caffenet/fc7',
        published=Published('bvlc_reference_caffenet', 1000, 57.4, 80.4),
        reference='https://github.com/BVLC/caffe/tree/master/models/bvlc_reference_caffenet'),
    'cifarnet': Net(
        cifarnet.cifarnet, cifarnet.cifarnet_arg_scope, preprocessing='cifarnet',
        head=('CifarNet/logits',), output_node='CifarNet/Predictions/Reshape_1', classes=10,
        reference='https://code.google.com/archive/p/cuda-convnet/'),
    'efficientnet_lite0': _efficientnet_lite(efficientnet_lite.efficientnet_lite0, 75.1),
    'efficientnet_lite1': _efficientnet_lite(efficientnet_lite.efficientnet_lite1, 76.7),
    'efficientnet_lite2': _efficientnet_lite(efficientnet_lite.efficientnet_lite2, 77.6),
    'efficientnet_lite3': _efficientnet_lite(efficientnet_lite.efficientnet_lite3, 79.8),
    'efficientnet_lite4': _efficientnet_lite(efficientnet_lite.efficientnet_lite4, 81.5),
    'inception_resnet_v2': _inception(
        inception_resnet_v2.inception_resnet_v2, inception_resnet_v2.inception_resnet_v2_arg_scope,
        ('InceptionResnetV2/Logits', 'InceptionResnetV2/AuxLogits'),
        published=Published('inception_resnet_v2_2016_08_30', 1001, 80.4, 95.3),
        output_node='InceptionResnetV2/Logits/Predictions',
        reference='https://arxiv.org/abs/1602.07261'),
    'inception_v1': _inception(
        inception_v1.inception_v1, inception_v1.inception_v1_arg_scope, ('InceptionV1/Logits',),
        published=Published('inception_v1_2016_08_28', 1001, 69.8, 89.6),
        output_node='InceptionV1/Logits/Predictions/Reshape_1',
        reference='https://arxiv.org/abs/1409.4842'),
    'inception_v2': _inception(
        inception_v2.inception_v2, inception_v2.inception_v2_arg_scope, ('InceptionV2/Logits',),
        published=Published('inception_v2_2016_08_28', 1001, 73.9, 91.8),
        reference='https://arxiv.org/abs/1502.03167'),
    'inception_v3': _inception(
        inception_v3.inception_v3, inception_v3.inception_v3_arg_scope,
        ('InceptionV3/Logits', 'InceptionV3/AuxLogits'),
        published=Published('inception_v3_2016_08_28', 1001, 78.0, 93.9),
        reference='https://arxiv.org/abs/1512.00567'),
    'inception_v4': _inception(
        inception_v4.inception_v4, inception_v4.inception_v4_arg_scope,
        ('InceptionV4/Logits', 'InceptionV4/AuxLogits'),
        published=Published('inception_v4_2016_09_09', 1001, 80.2, 95.2),
        output_node='InceptionV4/Logits/Predictions',
        reference='https://arxiv.org/abs/1602.07261'),
    'lenet': Net(
        lenet.lenet, lenet.lenet_arg_scope, preprocessing='lenet', head=('LeNet/fc4',),
        output_node='Predictions/Reshape_1', classes=10, channels=1, reference='http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf'),
    # The accuracy published for these two is that of their 8-bit quantized versions.
    'mobilenet_edgetpu': _mobilenet_v3(
        mobilenet_v3.mobilenet_edgetpu, Published('mobilenet_edgetpu_224_1.0', 1001, 75.6),
        'MobilenetEdgeTPU'),
    'mobilenet_edgetpu_075': _mobilenet_v3(
        mobilenet_v3.mobilenet_edgetpu_075, Published('mobilenet_edgetpu_224_0.75', 1001, 73.5),
        'MobilenetEdgeTPU'),
    'mobilenet_v1': _mobilenet_v1(
        mobilenet_v1.mobilenet_v1, Published('mobilenet_v1_1.0_224', 1001, 70.9, 89.9)),
    'mobilenet_v1_025': _mobilenet_v1(
        mobilenet_v1.mobilenet_v1_025,
        Published('mobilenet_v1_0.25_128', 1001, 41.5, 66.3, image_size=128)),
    'mobilenet_v1_050': _mobilenet_v1(
        mobilenet_v1.mobilenet_v1_050,
        Published('mobilenet_v1_0.50_160', 1001, 59.1, 81.9, image_size=160)),
    'mobilenet_v1_075': _mobilenet_v1(
        mobilenet_v1.mobilenet_v1_075, Published('mobilenet_v1_0.75_224', 1001, 68.4, 88.2)),
    'mobilenet_v2': _mobilenet_v2(
        mobilenet_v2.mobilenet_v2, Published('mobilenet_v2_1.0_224', 1001, 71.8, 91.0)),
    'mobilenet_v2_035': _mobilenet_v2(
        mobilenet_v2.mobilenet_v2_035, Published('mobilenet_v2_0.35_224', 1001, 60.3, 82.9)),
    'mobilenet_v2_050': _mobilenet_v2(
        mobilenet_v2.mobilenet_v2_050, Published('mobilenet_v2_0.5_224', 1001, 65.4, 86.4)),
    'mobilenet_v2_140': _mobilenet_v2(
        mobilenet_v2.mobilenet_v2_140, Published('mobilenet_v2_1.4_224', 1001, 75.0, 92.5)),
    'mobilenet_v3_large': _mobilenet_v3(
        mobilenet_v3.mobilenet_v3_large, Published('v3-large_224_1.0_float', 1001, 75.2)),
    'mobilenet_v3_large_minimalistic': _mobilenet_v3(
        mobilenet_v3.mobilenet_v3_large_minimalistic,
        Published('v3-large-minimalistic_224_1.0_float', 1001, 72.3)),
    'mobilenet_v3_small': _mobilenet_v3(
        mobilenet_v3.mobilenet_v3_small, Published('v3-small_224_1.0_float', 1001, 67.5)),
    'mobilenet_v3_small_minimalistic': _mobilenet_v3(
        mobilenet_v3.mobilenet_v3_small_minimalistic,
        Published('v3-small-minimalistic_224_1.0_float', 1001, 61.9)),
    'nasnet_cifar': _architecture_search(
        nasnet.nasnet_cifar, nasnet.nasnet_cifar_arg_scope, None,
        reference='https://arxiv.org/abs/1707.07012', preprocessing='cifarnet', classes=10),
    'nasnet_large': _architecture_search(
        nasnet.nasnet_large, nasnet.nasnet_large_arg_scope,
        Published('nasnet-a_large_04_10_2017', 1001, 82.7, 96.2),
        reference='https://arxiv.org/abs/1707.07012'),
    'nasnet_mobile': _architecture_search(
        nasnet.nasnet_mobile, nasnet.nasnet_mobile_arg_scope,
        Published('nasnet-a_mobile_04_10_2017', 1001, 74.0, 91.6),
        reference='https://arxiv.org/abs/1707.07012'),
    'overfeat': Net(
        overfeat.overfeat, overfeat.overfeat_arg_scope, preprocessing='vgg',
        head=('overfeat/fc8',), output_node='overfeat/fc8/squeezed',
        reference='https://arxiv.org/abs/1312.6229'),
    'pnasnet_large': _architecture_search(
        pnasnet.pnasnet_large, pnasnet.pnasnet_arg_scope,
        Published('pnasnet-5_large_2017_12_13', 1001, 82.9, 96.2),
        reference='https://arxiv.org/abs/1712.00559'),
    'pnasnet_mobile': _architecture_search(
        pnasnet.pnasnet_mobile, pnasnet.pnasnet_arg_scope,
        Published('pnasnet-5_mobile_2017_12_13', 1001, 74.2, 91.9),
        reference='https://arxiv.org/abs/1712.00559'),
    'resnet101_keras': _resnet_keras(
        resnet_v1.resnet101_keras, Published('Keras ResNet101', 1000, 76.42, 92.786)),
    'resnet101_torchvision': _resnet_torchvision(
        resnet_v1.resnet101_torchvision,
        Published('torchvision resnet101-63fe2227', 1000, 77.374, 93.546)),
    'resnet152_keras': _resnet_keras(
        resnet_v1.resnet152_keras, Published('Keras ResNet152', 1000, 76.604, 93.118)),
    'resnet152_torchvision': _resnet_torchvision(
        resnet_v1.resnet152_torchvision,
        Published('torchvision resnet152-394f9c45', 1000, 78.312, 94.046)),
    'resnet50_keras': _resnet_keras(
        resnet_v1.resnet50_keras, Published('Keras ResNet50', 1000, 74.928, 92.06)),
    'resnet50_torchvision': _resnet_torchvision(
        resnet_v1.resnet50_torchvision,
        Published('torchvision resnet50-0676ba61', 1000, 76.13, 92.862)),
    'resnet_v1_101': _resnet_v1(
        resnet_v1.resnet_v1_101, Published('resnet_v1_101_2016_08_28', 1000, 76.4, 92.9)),
    'resnet_v1_152': _resnet_v1(
        resnet_v1.resnet_v1_152, Published('resnet_v1_152_2016_08_28', 1000, 76.8, 93.2)),
    'resnet_v1_18': _resnet_v1(
        resnet_v1.resnet_v1_18,
        Published('torchvision resnet18-f37072fd', 1000, 69.758, 89.078,
                  preprocessing='torchvision')),
    'resnet_v1_200': _resnet_v1(resnet_v1.resnet_v1_200, None),
    'resnet_v1_34': _resnet_v1(
        resnet_v1.resnet_v1_34,
        Published('torchvision resnet34-b627a593', 1000, 73.314, 91.42,
                  preprocessing='torchvision')),
    'resnet_v1_50': _resnet_v1(
        resnet_v1.resnet_v1_50, Published('resnet_v1_50_2016_08_28', 1000, 75.2, 92.2)),
    'resnet_v2_101': _resnet_v2(
        resnet_v2.resnet_v2_101,
        Published('resnet_v2_101_2017_04_14', 1001, 77.0, 93.7, image_size=299,
                  preprocessing='inception')),
    'resnet_v2_152': _resnet_v2(
        resnet_v2.resnet_v2_152,
        Published('resnet_v2_152_2017_04_14', 1001, 77.8, 94.1, image_size=299,
                  preprocessing='inception')),
    'resnet_v2_200': _resnet_v2(resnet_v2.resnet_v2_200, None),
    'resnet_v2_50': _resnet_v2(
        resnet_v2.resnet_v2_50,
        Published('resnet_v2_50_2017_04_14', 1001, 75.6, 92.8, image_size=299,
                  preprocessing='inception')),
    'squeezenet': _squeezenet(
        squeezenet.squeezenet,
        Published('torchvision squeezenet1_0-b66bff10', 1000, 58.092, 80.42, image_size=224,
                  preprocessing='torchvision')),
    'squeezenet_1_1': _squeezenet(
        squeezenet.squeezenet_1_1,
        Published('torchvision squeezenet1_1-b8a52dc0', 1000, 58.178, 80.624, image_size=224,
                  preprocessing='torchvision')),
    'vgg_16': _vgg(vgg.vgg_16, 'vgg_16', Published('vgg_16_2016_08_28', 1000, 71.5, 89.8)),
    'vgg_19': _vgg(vgg.vgg_19, 'vgg_19', Published('vgg_19_2016_08_28', 1000, 71.1, 89.8)),
    'vgg_a': _vgg(vgg.vgg_a, 'vgg_a', Published('torchvision vgg11-8a719046', 1000, 69.02, 88.628,
                                                preprocessing='torchvision')),
}

# TF-Slim's names of these two, made from the records.
networks_map = {name: net.function for name, net in NETS.items()}
arg_scopes_map = {name: net.arg_scope for name, net in NETS.items()}


def list_nets(pattern: str = '*') -> list[str]:
  """Lists the names that match a pattern with shell wildcards, such as `mobilenet_*`."""
  return sorted(fnmatch.filter(NETS, pattern))


def get_net(name: str, *, head: str | None = None, head_from: str | None = None,
            trunk_classes: int | None = None) -> Net:
  """Finds a network's record.

  Args:
    name: a name of `NETS`.
    head: a custom head that replaces the classifier; see `custom_head.parse`.
    head_from: the end point that is its input; by default the classifier's input.
    trunk_classes: number of classes of the network's own classifier, if that end point needs it; by
      default the record's.

  Raises:
    ValueError: if there is no network with this name, or `head` is not a head.
    OSError: if the head is a function whose file cannot be read.
  """
  if name not in NETS:
    raise unknown_name('network', name, NETS)
  net = NETS[name]
  if not head:
    if head_from:
      raise ValueError(f'--head_from={head_from}: expected a --head that starts from there. '
                       'Received none.')
    return net
  head_from = find_head_from(name, head_from)
  needed = extractors.needs_classifier(net, head_from)
  return dataclasses.replace(
      net, arg_scope=custom_head.arg_scope(net.arg_scope), head=(custom_head.SCOPE,),
      function=custom_head.attach(net.function, custom_head.parse(head), head_from,
                                  trunk_classes=(trunk_classes or net.classes) if needed else None))


def find_head_from(name: str, head_from: str | None) -> str:
  """Finds the full name of the end point that a head starts from.

  Args:
    name: a name of `NETS`.
    head_from: see `extractors.find_end_point`; empty means the classifier's input.

  Raises:
    ValueError: if there is no such network, or no such end point of it.
  """
  net = get_net(name)
  return extractors.find_end_point(net, head_from or end_points.FEATURES, num_classes=net.classes)


def preprocessing_name(name: str) -> str:
  """Returns the preprocessing's name; a network's name means the network's preprocessing."""
  return NETS[name].preprocessing if name in NETS else name


def get_network_fn(name: str, num_classes: int | None,  # noqa: PLR0917 (TF-Slim's signature)
                   weight_decay: float = 0.0, is_training: bool = False) -> Callable:
  """Returns a network's function with its arg scope, as TF-Slim's factory does.

  The function creates its variables with `tf.compat.v1.get_variable`: it works in a `tf.Graph`,
  where TF-Slim's users call it; elsewhere, use `build_network`.

  Args:
    name: a name of `NETS`.
    num_classes: number of classes; 0 or None returns features instead of logits.
    weight_decay: factor of the L2 regularizers.
    is_training: a Python bool.

  Returns:
    `network_fn(images, *, keys=None, step=None, **arguments) -> (logits, end_points)`, with the
    attribute `default_image_size`. `keys`, from `nets.noise.example_keys`, are needed if
    the network has dropout or drop path, `step` if its drop path has a schedule; `arguments` are
    those of the network's function.

  Raises:
    ValueError: if there is no network with this name; and the function, if it is called eagerly or
      in a `tf.function`: each call would have new random weights.
  """
  net = get_net(name)

  @functools.wraps(net.function)
  def network_fn(images: tf.Tensor, *, keys: tf.Tensor | None = None,
                 step: tf.Tensor | None = None, **arguments):
    with layers.arg_scope(net.arg_scope(weight_decay=weight_decay)), \
        layers.arg_scope(layers.RANDOM, keys=keys), \
        layers.arg_scope([layers.scheduled_drop_path], step=step):
      return net.function(images, num_classes, is_training=is_training, **arguments)

  return network_fn


def build_network(name: str, *, head: str | None = None, head_from: str | None = None,
                  trunk_classes: int | None = None, **arguments) -> network.Network:
  """Builds a network with its variables.

  Args:
    name, head, head_from, trunk_classes: see `get_net`.
    **arguments: those of `network.Network`.

  Raises:
    ValueError: if there is no network with this name, if the images are too small for it, or if a
      scope of `trainable_scopes` matches nothing.
  """
  return build(get_net(name, head=head, head_from=head_from, trunk_classes=trunk_classes),
               **arguments)


def build(net: Net, **arguments) -> network.Network:
  """Builds a network from a record; the arguments are those of `network.Network`."""
  return network.Network(net.function, net.arg_scope, **arguments)
