"""The names of `keras.applications` in Keras 3; older names are converted to them.

`dialects/keras_older.py` has those that changed most. Keras numbers unnamed layers across all
models of a process, so only their order counts.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from slim_zoo.weights.dialects import keras_older
from slim_zoo.weights.dialects.dialect import Dialect, Shapes
from slim_zoo.weights.layouts import HWIO, SWAP_RED_AND_BLUE, Step, Take, plus, times

Place = tuple[str, str]  # The names of a layer and of its variable.

_KINDS = {'weights': 'kernel', 'depthwise_weights': 'kernel', 'biases': 'bias'}
_AUXILIARY = re.compile(r'aux_\d+/|Inception\w+/AuxLogits/')  # Keras' networks have none.
_NUMBERED = ('conv2d', 'batch_normalization')
# Squeeze-and-excite multiplies by 0.16667 here, as in TF-Slim, and by 1 / 6 in Keras; the next
# convolution compensates for it.
_SIXTH = times(1 / (6 * 0.16667))


def _kind(name: str) -> str:
  return _KINDS.get(name, name)


def _mobilenet_v1(name: str) -> Place:
  """Maps `MobilenetV1/Conv2d_1_depthwise/BatchNorm/beta` to `conv_dw_1_bn` and `beta`."""
  _, layer, *path = name.split('/')
  if layer == 'Logits':
    return 'conv_preds', _kind(path[-1])
  _, number, *kind = layer.split('_')
  theirs = f'conv_{kind[0][0]}w_{number}' if kind else 'conv1'  # conv_dw_1, conv_pw_1.
  return (f'{theirs}_bn', path[1]) if path[0] == 'BatchNorm' else (theirs, 'kernel')


def _mobilenet_v2(name: str) -> Place:
  """Maps `MobilenetV2/expanded_conv_2/expand/weights` to `block_2_expand` and `kernel`."""
  _, layer, *path = name.split('/')
  if layer.startswith('expanded_conv'):
    block = layer.replace('expanded_conv_', 'block_')
    convolution, batch_norm = f'{block}_{path[0]}', f'{block}_{path[0]}_BN'
  else:
    convolution, batch_norm = {'Conv': ('Conv1', 'bn_Conv1'), 'Conv_1': ('Conv_1', 'Conv_1_bn'),
                               'Logits': ('predictions', '')}[layer]
  return (batch_norm, path[-1]) if 'BatchNorm' in path else (convolution, _kind(path[-1]))


def _mobilenet_v3(name: str) -> Place:
  """Maps `…/expanded_conv_2/squeeze_excite/Conv_1/biases` to its layer, and to `bias`."""
  _, *path, kind = name.split('/')
  is_batch_norm = path[-1] == 'BatchNorm'
  path = path[:1] if path[0] == 'Logits' else path[:-1] if is_batch_norm else path
  layer = '_'.join(path).lower()
  return (f'{layer}_bn', kind) if is_batch_norm else (layer, _kind(kind))


def _resnet(name: str) -> Place:
  """Maps `…/block1/unit_2/bottleneck_v1/conv3/BatchNorm/beta` to `conv2_block2_3_bn` and `beta`."""
  _, *scopes, kind = name.split('/')
  suffix = 'conv' if kind in _KINDS else 'bn'
  if scopes == ['logits']:
    return 'predictions', _kind(kind)
  if scopes[0].startswith('block'):
    block, unit = int(scopes[0].removeprefix('block')), scopes[1].removeprefix('unit_')
    layer = {'shortcut': '0', 'preact': 'preact'}.get(scopes[3], scopes[3].removeprefix('conv'))
    layer = f'conv{block + 1}_block{unit}_{layer}'
  else:
    layer = {'conv1': 'conv1', 'postnorm': 'post'}[scopes[0]]
  return f'{layer}_{suffix}', _kind(kind)


def _vgg(name: str) -> Place:
  """Maps `vgg_16/conv3/conv3_1/weights` to `block3_conv1` and `kernel`."""
  *_, layer, kind = name.split('/')
  if layer.startswith('fc'):
    return {'fc6': 'fc1', 'fc7': 'fc2', 'fc8': 'predictions'}[layer], _kind(kind)
  return 'block{}_conv{}'.format(*layer.removeprefix('conv').split('_')), _kind(kind)


def _nasnet(name: str, *, cells: int) -> Place:
  """Maps names such as `cell_0/comb_iter_0/left/bn_sep_5x5_1/beta`; see below for the parts."""
  scope, _, kind = name.rpartition('/')
  kind = {**_KINDS, 'depthwise_weights': 'depthwise_kernel',
          'pointwise_weights': 'pointwise_kernel'}.get(kind, kind)
  outside = {'conv0': 'stem_conv1', 'conv0_bn': 'stem_bn1', 'final_layer/FC': 'predictions'}
  if scope in outside:
    return outside[scope], kind
  cell, *path = scope.split('/')
  cell_kind, block = _nasnet_cell(cell, cells)
  if len(path) == 1:
    layer = {'1x1': f'{cell_kind}_conv_1', 'beginning_bn': f'{cell_kind}_bn_1',
             'path1_conv': 'adjust_conv_1', 'path2_conv': 'adjust_conv_2',
             'final_path_bn': 'adjust_bn', 'prev_1x1': 'adjust_conv_projection',
             'prev_bn': 'adjust_bn'}[path[0]]
    return f'{layer}_{block}', kind
  number, side, layer = int(path[0].removeprefix('comb_iter_')) + 1, path[1], path[2]
  if cell_kind == 'reduction' and number == 5:
    number = 4  # Keras' number for it.
  infix = '_bn' if layer.startswith('bn_') else ''
  return f'separable_conv_{layer[-1]}{infix}_{cell_kind}_{side}{number}_{block}', kind


def _nasnet_cell(scope: str, cells: int) -> tuple[str, str]:
  """Maps `cell_stem_0` to `reduction`, `stem_1`, and so on; Keras counts reductions as cells."""
  kind, digits = scope.rsplit('_', 1)
  third, number = cells // 3, int(digits)
  if kind == 'cell_stem':
    return 'reduction', f'stem_{number + 1}'
  if kind == 'reduction_cell':
    return 'reduction', f'reduce_{third * (number + 1)}'
  return 'normal', f'{number + (number >= third)}'


# Keras' names of the named layers of Inception V3 and Inception-ResNet.
_INCEPTION = {r'Logits.*': 'predictions', r'Repeat(?:_\d)?/block(\d+)_(\d+)/Conv2d_1x1':
              r'block\1_\2_conv', r'Block8/Conv2d_1x1': 'block8_10_conv',
              r'Conv2d_7b_1x1': 'conv_7b', r'Conv2d_7b_1x1/BatchNorm': 'conv_7b_bn'}


def _inceptions(names: Iterable[str]) -> dict[str, Place]:
  """Maps the names of Inception V3 or Inception-ResNet V2, in the order of their layers."""
  layers, counts, result = {}, dict.fromkeys(_NUMBERED, 0), {}
  for name in names:
    scope, _, kind = name.partition('/')[2].rpartition('/')
    if scope not in layers:
      pattern = next((p for p in _INCEPTION if re.fullmatch(p, scope)), None)
      if pattern:
        layers[scope] = re.sub(f'^{pattern}$', _INCEPTION[pattern], scope)
      else:
        base = _NUMBERED[scope.endswith('BatchNorm')]
        layers[scope] = _numbered(base, counts[base])
        counts[base] += 1
    result[name] = (layers[scope], _kind(kind))
  return result


def _numbered(base: str, number: int) -> str:
  return f'{base}_{number}' if number else base


def _each(place: Callable[..., Place], **arguments) -> Callable[[Iterable[str]], dict[str, Place]]:
  return lambda names: {name: place(name, **arguments) for name in names}


def places(network: str, ours: Iterable[str]) -> dict[str, Place]:
  """Maps our names to the layers and variables of Keras, which has no auxiliary heads.

  Args:
    network: a key of `NETWORKS`.
    ours: names of our variables, in the order of the layers.

  Returns:
    `{our name: (layer, variable)}`. Unnamed layers are numbered from the first.
  """
  return NETWORKS[network].places([name for name in ours if not _AUXILIARY.match(name)])


@dataclasses.dataclass(frozen=True)
class _Network:
  """A network of `keras.applications`.

  Attributes:
    model: Keras' name of the model.
    places: maps our names, in the order of the layers, to those of Keras.
    arguments: further arguments to create the model with.
    image_size: its smallest image size.
    top: its layers with variables that `include_top=False` omits.
    preprocessing, note: see `Dialect`.
    is_bgr: whether the first layer expects BGR images and ours RGB.
  """
  model: str
  places: Callable[[Iterable[str]], dict[str, Place]]
  _: dataclasses.KW_ONLY
  arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  image_size: int = 32
  top: tuple[str, ...] = ('predictions',)
  preprocessing: str | None = None
  note: str = ''
  is_bgr: bool = False


_V2_NOTE = ("Keras' first pooling pads its input with zeros on both sides; this network uses "
            "'SAME' padding. Logits are equal only if that input has an odd size, as with images "
            'of 225 pixels, and is positive at its border.')
_V1_NOTE = ("Keras' convolutions with stride 2 pad at the bottom and right; this network uses "
            "'SAME' padding: logits are equal for images whose sides are multiples of 32.")
_NASNET_NOTE = ('Poolings in reduction cells of Keras include zero padding; in this network, as in '
                "TF-Slim's, they exclude it. Logits differ slightly.")


def _mobilenet_v1s(alpha: float) -> _Network:
  return _Network('MobileNet', _each(_mobilenet_v1), arguments={'alpha': alpha},
                  top=('conv_preds',), note=_V1_NOTE)


def _mobilenet_v2s(alpha: float) -> _Network:
  return _Network('MobileNetV2', _each(_mobilenet_v2), arguments={'alpha': alpha})


def _mobilenet_v3s(model: str, *, minimalistic: bool = False) -> _Network:
  return _Network(model, _each(_mobilenet_v3), top=('conv_2', 'logits'),
                  arguments={'minimalistic': minimalistic, 'include_preprocessing': False})


def _resnet_keras(model: str) -> _Network:
  return _Network(model, _each(_resnet))


def _resnet_v2(model: str) -> _Network:
  return _Network(model, _each(_resnet), preprocessing='inception', note=_V2_NOTE)


def _vggs(model: str) -> _Network:
  return _Network(model, _each(_vgg), top=('fc1', 'fc2', 'predictions'), is_bgr=True)


NETWORKS: dict[str, _Network] = {
  'inception_resnet_v2': _Network('InceptionResNetV2', _inceptions, image_size=75),
  'inception_v3': _Network('InceptionV3', _inceptions, image_size=75),
  'mobilenet_v1': _mobilenet_v1s(1.0),
  'mobilenet_v1_025': _mobilenet_v1s(0.25),
  'mobilenet_v1_050': _mobilenet_v1s(0.5),
  'mobilenet_v1_075': _mobilenet_v1s(0.75),
  'mobilenet_v2': _mobilenet_v2s(1.0),
  'mobilenet_v2_035': _mobilenet_v2s(0.35),
  'mobilenet_v2_050': _mobilenet_v2s(0.5),
  'mobilenet_v2_140': _mobilenet_v2s(1.4),
  'mobilenet_v3_large': _mobilenet_v3s('MobileNetV3Large'),
  'mobilenet_v3_large_minimalistic': _mobilenet_v3s('MobileNetV3Large', minimalistic=True),
  'mobilenet_v3_small': _mobilenet_v3s('MobileNetV3Small'),
  'mobilenet_v3_small_minimalistic': _mobilenet_v3s('MobileNetV3Small', minimalistic=True),
  'nasnet_large': _Network('NASNetLarge', _each(_nasnet, cells=18), note=_NASNET_NOTE),
  'nasnet_mobile': _Network('NASNetMobile', _each(_nasnet, cells=12), note=_NASNET_NOTE),
  'resnet101_keras': _resnet_keras('ResNet101'),
  'resnet152_keras': _resnet_keras('ResNet152'),
  'resnet50_keras': _resnet_keras('ResNet50'),
  'resnet_v2_101': _resnet_v2('ResNet101V2'),
  'resnet_v2_152': _resnet_v2('ResNet152V2'),
  'resnet_v2_50': _resnet_v2('ResNet50V2'),
  'vgg_16': _vggs('VGG16'),
  'vgg_19': _vggs('VGG19'),
}


@functools.cache
def _order(network: str) -> tuple[str, ...]:
  """Lists Keras' layers with variables in its order, which is known only from Keras' network."""
  import keras  # The import takes a second and is rarely needed.
  known = NETWORKS[network]
  model = getattr(keras.applications, known.model)(
    weights=None, include_top=False, input_shape=(known.image_size, known.image_size, 3),
    **known.arguments)
  return (*_renumbered([layer.name for layer in model.layers if layer.weights]), *known.top)


def _renumbered(layers: Sequence[str]) -> dict[str, str]:
  """Renumbers the layers that Keras numbered; returns `{new name: name}`."""
  numbers = {base: sorted((int(layer.removeprefix(base).lstrip('_') or 0), layer)
                          for layer in layers if re.fullmatch(rf'{base}(_\d+)?', layer))
             for base in _NUMBERED}
  new = {layer: _numbered(base, i) for base, found in numbers.items()
         for i, (_, layer) in enumerate(found)}
  return {new.get(layer, layer): layer for layer in layers}


def _modern(network: str, layer: str) -> str:
  """Converts a layer's name to Keras 3."""
  known = NETWORKS[network]
  if known.model.startswith('MobileNetV3'):  # expanded_conv/squeeze_excite/Conv, Conv/BatchNorm.
    return layer.replace('/BatchNorm', '_bn').replace('/', '_').lower()
  if layer in ('probs', 'Logits', 'fc1000'):
    return known.top[-1]
  return layer


def takes_of(network: str, ours: Iterable[str], layers: Mapping[str, str], *,
             theirs: Iterable[str]) -> dict[str, Take]:
  """Maps our variables.

  Args:
    network: a key of `NETWORKS`.
    ours: names of our variables, in the order of the layers.
    layers: `{Keras' name of a layer: prefix of its arrays' names}`.
    theirs: names of the arrays.
  """
  known, result = NETWORKS[network], {}
  ours = list(ours)
  first = next(iter(ours), None)
  for name, (layer, variable) in places(network, ours).items():
    key = f'{layers.get(layer, layer)}/{variable}'
    if key not in theirs and key.endswith('/kernel'):  # Before Keras 3.
      older = f'{key.removesuffix("kernel")}depthwise_kernel'
      key = older if older in theirs else key
    result[name] = Take(key, _steps(known, name, variable, ours=ours, is_first=name == first))
  return result


def _steps(known: _Network, name: str, variable: str, *, ours: Sequence[str],
           is_first: bool) -> tuple[Step, ...]:
  if variable != 'kernel':
    return ()
  if known.is_bgr and is_first:
    return (HWIO, SWAP_RED_AND_BLUE)
  scope = name.removesuffix('/project/weights')
  if scope != name and f'{scope}/squeeze_excite/Conv/weights' in ours:
    return (HWIO, _SIXTH)
  return (HWIO,)


def in_order(network: str, groups: Sequence[str]) -> dict[str, str]:
  """Finds layers without names by the order of those with variables, as Keras does.

  Args:
    network: a key of `NETWORKS`.
    groups: prefix of each layer's array names, in this order.

  Returns:
    `{Keras' name of a layer: group}`, without the top if the numbers differ; {} if there are too
    few groups.
  """
  order = _order(network)
  bare = len(order) - len(NETWORKS[network].top)
  if len(groups) < bare:
    return {}
  return dict(zip(order if len(groups) == len(order) else order[:bare], groups, strict=False))


def _groups(theirs: Shapes) -> list[str]:
  """Lists what the names of each layer's arrays begin with."""
  return list(dict.fromkeys(name.rpartition('/')[0] for name in theirs))


def _checked(ours: Shapes, theirs: Shapes, takes: dict[str, Take]) -> dict[str, Take]:
  keras_older.check_kernels(ours, theirs, takes)
  return takes


def _takes(network: str, ours: Shapes, theirs: Shapes) -> dict[str, Take]:
  """Maps by name; or by order, as Keras does, if only the names of the layers differ."""
  groups = _groups(theirs)
  keras_older.check_inception(network, groups)
  layers = {_modern(network, new): layer for new, layer in _renumbered(groups).items()}
  found = takes_of(network, ours, layers, theirs=theirs)
  body = {layer for layer, _ in places(network, ours).values()} - {*NETWORKS[network].top}
  # The layers of the first ResNet50 are in another order.
  if not body <= {*layers} and not keras_older.is_resnet50(groups):
    order = _order(network)
    if len(groups) in (len(order), len(order) - len(NETWORKS[network].top)):
      found = takes_of(network, ours, in_order(network, groups), theirs=theirs)
  return _checked(ours, theirs, found)


def _first_resnet50(network: str, ours: Shapes, theirs: Shapes) -> dict[str, Take]:
  """Maps the names of Keras' first ResNet50."""
  groups = _groups(theirs)
  if not keras_older.is_resnet50(groups):
    return {}
  layers = {_modern(network, keras_older.resnet50_layer(group)): group for group in groups}
  step = plus(keras_older.RESNET50_EPSILON)
  return _checked(ours, theirs, {
    name: dataclasses.replace(take, steps=(*take.steps, step))
    if name.endswith('/moving_variance') else take
    for name, take in takes_of(network, ours, layers, theirs=theirs).items()})


def dialects(network: str) -> tuple[Dialect, ...]:
  """Lists Keras' dialects for a network; none if Keras does not have it."""
  if network not in NETWORKS:
    return ()
  known = NETWORKS[network]
  found = Dialect('Keras', functools.partial(_takes, network), preprocessing=known.preprocessing,
                  note=known.note)
  if network != 'resnet50_keras':
    return (found,)
  older = dataclasses.replace(found, takes=functools.partial(_first_resnet50, network),
                              note=keras_older.RESNET50_NOTE)
  return (found, older)
