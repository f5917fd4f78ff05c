"""PyTorch's state dicts: `.safetensors`, for a network of torchvision or timm.

The header says how to make the network: its `library`, its `architecture` there, and its
`arguments` as JSON.

    about = safetensors.safe_open(path, 'pt').metadata()
    arguments = json.loads(about['arguments'])
    network = timm.create_model(about['architecture'], **arguments)  # If the library is timm.
    network = getattr(torchvision.models, about['architecture'])(**arguments)  # If torchvision.
    network.load_state_dict(safetensors.torch.load_file(path), strict=True)

Images are [batch, channels, height, width] there, with the values of the same images here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
import tensorflow as tf

from nets import nets_factory
from slim_zoo.export import equivalents, runner
from slim_zoo.export.model import Model
from slim_zoo.weights import restore, sources
from slim_zoo.weights.dialects import dialect
from slim_zoo.weights.dialects import torch as names

INPUT, LOGITS = 'images', 'logits'


@dataclasses.dataclass(frozen=True)
class Architecture:
  """A network of torchvision or timm that computes the same as one of ours.

  Attributes:
    name: its name there.
    dialect: name of the dialect; its first word is the library.
    arguments: further arguments to create it with.
    sizes: image sizes for which it computes the same; None for all.
  """
  name: str
  dialect: str
  arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  sizes: range | None = None

  @property
  def library(self) -> str:
    """'torchvision' or 'timm'."""
    return self.dialect.partition(' ')[0]


def _torchvision(name: str, sizes: range | None = None) -> Architecture:
  return Architecture(name, 'torchvision', sizes=sizes)


def _timm(name: str, dialect: str = 'timm', **arguments) -> Architecture:
  return Architecture(name, dialect, arguments)


# torchvision's MobileNets pad equally on both sides; timm's can be asked for TensorFlow's padding.
# Inception V3 and NASNet are missing: their average pools include zeros at the border.
NETWORKS: dict[str, Architecture] = {
    # Otherwise they pool the last map to the size that the next layer has the weights for.
    'alexnet_torchvision': _torchvision('alexnet', sizes=range(223, 255)),
    **{ours: _torchvision(theirs, sizes=range(224, 256))
       for ours, theirs in (('vgg_16', 'vgg16'), ('vgg_19', 'vgg19'), ('vgg_a', 'vgg11'))},
    **{f'efficientnet_lite{i}': _timm(f'tf_efficientnet_lite{i}', f'timm tf_efficientnet_lite{i}')
       for i in range(5)},
    'inception_resnet_v2': _timm('inception_resnet_v2'),
    'inception_v4': _timm('inception_v4'),
    'mobilenet_v1': _timm('mobilenetv1_100', 'timm mobilenetv1', pad_type='same'),
    **{f'mobilenet_v2{ours}': _timm(f'mobilenetv2_{theirs}', 'timm mobilenetv2', pad_type='same')
       for ours, theirs in (('', '100'), ('_035', '035'), ('_050', '050'), ('_140', '140'))},
    **{f'mobilenet_v3_{size}{ours}': _timm(
        f'tf_mobilenetv3_{size}_{theirs}100', 'timm tf_mobilenetv3')
       for size in ('large', 'small')
       for ours, theirs in (('', ''), ('_minimalistic', 'minimal_'))},
    'pnasnet_large': _timm('pnasnet5large'),
    **{f'resnet{layers}_torchvision': _torchvision(f'resnet{layers}') for layers in (50, 101, 152)},
    **{f'resnet_v1_{layers}': _torchvision(f'resnet{layers}') for layers in (18, 34)},
    'squeezenet': _torchvision('squeezenet1_0'),
    'squeezenet_1_1': _torchvision('squeezenet1_1'),
}


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Writes our variables with the names and in the layout of PyTorch's network.

  Raises:
    ValueError: if neither torchvision nor timm has the network, for images of this size and kind.
  """
  equivalents.check(model, 'torchvision or timm', NETWORKS)
  architecture = NETWORKS[model.name]
  _check_images(model, architecture)
  known, = (one for one in names.dialects(model.name) if one.name == architecture.dialect)
  state = {name: array.copy(order='C')
           for name, array in dialect.arrays_of(known, model.values()).items()}
  counters = [name.replace('running_mean', 'num_batches_tracked') for name in state
              if name.endswith('.running_mean')]
  state |= {name: np.zeros([], np.int64) for name in counters}  # Only their presence matters.
  # `save_file` makes files that only their owner can read.
  pathlib.Path(path).write_bytes(safetensors.numpy.save(state, _about(model, architecture)))


def _check_images(model: Model, architecture: Architecture) -> None:
  sizes = architecture.sizes
  if sizes and model.image_size not in sizes:
    raise ValueError(f'--image_size: expected {sizes[0]} to {sizes[-1]}, for which '
                     f"{architecture.library}'s {architecture.name} computes the same as "
                     f'{model.name}. Received: {model.image_size}. Choose another target.')
  if architecture.library == 'torchvision' and model.channels != 3:
    raise ValueError(f"Expected: images of 3 channels, as torchvision's {architecture.name} takes. "
                     f'Received: {model.channels}. Choose another target.')


def _about(model: Model, architecture: Architecture) -> dict[str, str]:
  """Returns the header's metadata, which are texts."""
  arguments = {'num_classes': model.network.num_classes, **architecture.arguments}
  if model.channels != 3:
    arguments['in_chans'] = model.channels
  return {'format': 'pt', 'library': architecture.library, 'architecture': architecture.name,
          'arguments': json.dumps(arguments), 'num_classes': str(model.network.num_classes),
          'image_size': str(model.image_size), 'channels': str(model.channels),
          'model_name': model.name}


def open_export(path: str | os.PathLike[str]) -> runner.Runner:
  """Loads a state dict into our network, as it would be loaded if PyTorch had written it."""
  with safetensors.safe_open(path, 'numpy') as file:
    about = file.metadata()
  name, size = about['model_name'], int(about['image_size'])
  network = nets_factory.build_network(
      name, image_shape=[size, size, int(about['channels'])],
      num_classes=int(about['num_classes']), is_restored=True)
  weights = sources.open_weights(os.fspath(path))
  shapes = {key: tuple(variable.shape) for key, variable in network.variables.items()}
  report = restore.plan(weights.source, shapes, weights.takes(name, shapes))
  restore.check(report)
  restore.apply(report, weights.source, network.variables)
  return {runner.IMAGES: lambda batch: network(tf.constant(batch), is_training=False)[0].numpy()}
