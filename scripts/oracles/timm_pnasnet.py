"""Where the variables of our PNASNet are in the state dict of timm's `pnasnet5large`.

Checked against timm 1.0.31. The transforms are those of `timm_names`.
"""

from __future__ import annotations

import re

_ARRAYS = {
    'weights': ('weight', 'conv'), 'depthwise_weights': ('depthwise_conv2d.weight', 'depthwise'),
    'pointwise_weights': ('pointwise_conv2d.weight', 'conv'), 'biases': ('bias', 'as it is'),
    'gamma': ('weight', 'as it is'), 'beta': ('bias', 'as it is'),
    'moving_mean': ('running_mean', 'as it is'), 'moving_variance': ('running_var', 'as it is'),
}
# What the scope of a layer looks like, and the path of timm's module.
_MODULES = (
    (r'conv0', 'conv_0.conv'),
    (r'conv0_bn', 'conv_0.bn'),
    (r'(cell_\w+)/1x1', r'\1.conv_1x1.conv'),
    (r'(cell_\w+)/beginning_bn', r'\1.conv_1x1.bn'),
    (r'(cell_\w+)/prev_1x1', r'\1.conv_prev_1x1.conv'),
    (r'(cell_\w+)/prev_bn', r'\1.conv_prev_1x1.bn'),
    (r'(cell_\w+)/path([12])_conv', r'\1.conv_prev_1x1.path_\2.conv'),
    (r'(cell_\w+)/final_path_bn', r'\1.conv_prev_1x1.final_path_bn'),
    (r'(cell_\w+)/(comb_iter_\d)/(\w+)/separable_\dx\d_(\d)', r'\1.\2_\3.separable_\4'),
    (r'(cell_\w+)/(comb_iter_\d)/(\w+)/bn_sep_\dx\d_(\d)', r'\1.\2_\3.bn_sep_\4'),
    (r'(cell_\w+)/(comb_iter_\d)/(\w+)/1x1', r'\1.\2_\3.conv'),
    (r'(cell_\w+)/(comb_iter_\d)/(\w+)/bn_1', r'\1.\2_\3.bn'),
    (r'final_layer/FC', 'last_linear'),
)


def pnasnet_large(name: str) -> tuple[str, str]:
  """Finds a variable of `pnasnet_large` in timm's `pnasnet5large`.

  Args:
    name: such as `cell_0/comb_iter_1/left/bn_sep_7x7_2/gamma`, which is
      `cell_0.comb_iter_1_left.bn_sep_2.weight`.

  Returns:
    The key and the transform.

  Raises:
    ValueError: if timm has no such array; it has no auxiliary classifier.
  """
  scope, _, kind = name.rpartition('/')
  key, transform = _ARRAYS[kind]
  if name == 'final_layer/FC/weights':
    transform = 'dense'
  for pattern, module in _MODULES:
    if match := re.fullmatch(pattern, scope):
      return f'{match.expand(module)}.{key}', transform
  raise ValueError(f"timm's pnasnet5large has no layer for {name!r}.")
