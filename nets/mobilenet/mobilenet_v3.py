"""MobileNet V3 (Howard et al. 2019, https://arxiv.org/abs/1905.02244, tables 1 and 2).

Also TF-Slim's variants: the minimalistic ones, without operations that are slow on some devices
(squeeze-and-excite, hard swish, 5×5 kernels), and MobileNet EdgeTPU, whose first blocks have full
convolutions instead of depthwise ones
(https://github.com/tensorflow/models/tree/master/research/slim/nets/mobilenet).
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from nets.inverted_residual import hard_swish
from nets.mobilenet import mobilenet
from nets.variants import variant

mobilenet_v3_arg_scope = mobilenet.mobilenet_arg_scope

_RE, _HS = tf.nn.relu, hard_swish


def _blocks(*rows) -> tuple[mobilenet.Block, ...]:
  return tuple(mobilenet.Block(depth, expansion, kernel_size=kernel, stride=stride,
                               activation_fn=activation, has_squeeze_excite=has_squeeze_excite)
               for kernel, expansion, depth, has_squeeze_excite, activation, stride in rows)


# Rows of the blocks: kernel, expansion, depth, squeeze-and-excite, activation, stride. The paper
# lists the number of expanded channels; TF-Slim's depth multiplier needs the ratio.
_LARGE = mobilenet.Architecture(
    first=16,
    blocks=_blocks((3, 1, 16, False, _RE, 1),
                   (3, 4, 24, False, _RE, 2),
                   (3, 3, 24, False, _RE, 1),
                   (5, 3, 40, True, _RE, 2),
                   (5, 3, 40, True, _RE, 1),
                   (5, 3, 40, True, _RE, 1),
                   (3, 6, 80, False, _HS, 2),
                   (3, 2.5, 80, False, _HS, 1),
                   (3, 2.3, 80, False, _HS, 1),
                   (3, 2.3, 80, False, _HS, 1),
                   (3, 6, 112, True, _HS, 1),
                   (3, 6, 112, True, _HS, 1),
                   (5, 6, 160, True, _HS, 2),
                   (5, 6, 160, True, _HS, 1),
                   (5, 6, 160, True, _HS, 1)),
    last=960, pooled=1280, activation_fn=_HS)

_SMALL = mobilenet.Architecture(
    first=16,
    blocks=_blocks((3, 1, 16, True, _RE, 2),
                   (3, 72 / 16, 24, False, _RE, 2),
                   (3, 88 / 24, 24, False, _RE, 1),
                   (5, 4, 40, True, _HS, 2),
                   (5, 6, 40, True, _HS, 1),
                   (5, 6, 40, True, _HS, 1),
                   (5, 3, 48, True, _HS, 1),
                   (5, 3, 48, True, _HS, 1),
                   (5, 6, 96, True, _HS, 2),
                   (5, 6, 96, True, _HS, 1),
                   (5, 6, 96, True, _HS, 1)),
    last=576, pooled=1024, activation_fn=_HS)


def _minimalistic(architecture: mobilenet.Architecture) -> mobilenet.Architecture:
  blocks = tuple(dataclasses.replace(block, kernel_size=3, has_squeeze_excite=False,
                                     activation_fn=_RE) for block in architecture.blocks)
  return dataclasses.replace(architecture, blocks=blocks, activation_fn=_RE)


def _stage(depth: int, stride: int, **arguments) -> tuple[mobilenet.Block, ...]:
  """A block with expansion 8 and three with expansion 4."""
  is_residual = arguments.pop('is_residual', True)
  first = mobilenet.Block(depth, 8, stride=stride, is_residual=is_residual, **arguments)
  return (first, *[mobilenet.Block(depth, 4, **arguments)] * 3)


_EDGETPU = mobilenet.Architecture(
    first=32,
    blocks=(mobilenet.Block(16, 1, is_fused=True),
            *_stage(32, 2, is_fused=True),
            *_stage(48, 2, is_fused=True),
            *_stage(96, 2),
            *_stage(96, 1, is_residual=False),
            *_stage(160, 2, kernel_size=5),
            mobilenet.Block(192, 8)),
    last=1280, pooled=None, activation_fn=_RE)


mobilenet_v3_large = variant(
    mobilenet.mobilenet, 'mobilenet_v3_large', architecture=_LARGE, scope='MobilenetV3')
mobilenet_v3_small = variant(
    mobilenet_v3_large, 'mobilenet_v3_small', architecture=_SMALL)
mobilenet_v3_large_minimalistic = variant(
    mobilenet_v3_large, 'mobilenet_v3_large_minimalistic', architecture=_minimalistic(_LARGE))
mobilenet_v3_small_minimalistic = variant(
    mobilenet_v3_large, 'mobilenet_v3_small_minimalistic', architecture=_minimalistic(_SMALL))
mobilenet_edgetpu = variant(
    mobilenet.mobilenet, 'mobilenet_edgetpu', architecture=_EDGETPU, scope='MobilenetEdgeTPU')
mobilenet_edgetpu_075 = variant(
    mobilenet_edgetpu, 'mobilenet_edgetpu_075', depth_multiplier=0.75,
    finegrain_classification_mode=True)
