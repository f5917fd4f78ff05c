"""How images are prepared for weights: what is known about them, and what the user overrides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preprocessing import preprocessing_factory
from preprocessing import transform as transform_lib
from preprocessing.transform import Transform
from slim_zoo.config.model import Geometry


def settle(known: Mapping[str, Any], preprocessing_name: str, config: Geometry) -> Transform:
  """Returns the transform that evaluates weights.

  Args:
    known: what is known about them; the transform in it is used unless the user chose another
      preprocessing.
    preprocessing_name: the settled name; its own transform is used if none is known.
    config: what the user overrides.

  Raises:
    ValueError: if what is known is damaged, or what is overridden does not fit together.
  """
  transform = preprocessing_factory.get_recipe(preprocessing_name).transform
  if 'transform' in known and known.get('preprocessing_name') in (None, preprocessing_name):
    transform = transform_lib.from_json(known['transform'])
  return transform.override(resize_mode=config.resize_mode, crop_fraction=config.crop_fraction,
                            interpolation=config.interpolation)
