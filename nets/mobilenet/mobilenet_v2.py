"""MobileNet V2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381, table 2)."""

from __future__ import annotations

import tensorflow as tf

from nets.mobilenet import mobilenet
from nets.variants import variant

mobilenet_v2_arg_scope = mobilenet.mobilenet_arg_scope

# Expansion, depth, number of blocks, stride of the first block.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
           (6, 160, 3, 2), (6, 320, 1, 1))

_V2 = mobilenet.Architecture(
    first=32,
    blocks=tuple(mobilenet.Block(depth, expansion, stride=1 if i else stride,
                                 activation_fn=tf.nn.relu6)
                 for expansion, depth, repeats, stride in _STAGES for i in range(repeats)),
    last=1280, pooled=None, activation_fn=tf.nn.relu6)

mobilenet_v2 = variant(
    mobilenet.mobilenet, 'mobilenet_v2', architecture=_V2, scope='MobilenetV2')
mobilenet_v2_140 = variant(mobilenet_v2, 'mobilenet_v2_140', depth_multiplier=1.4)
mobilenet_v2_050 = variant(
    mobilenet_v2, 'mobilenet_v2_050', depth_multiplier=0.5, finegrain_classification_mode=True)
mobilenet_v2_035 = variant(
    mobilenet_v2, 'mobilenet_v2_035', depth_multiplier=0.35, finegrain_classification_mode=True)
