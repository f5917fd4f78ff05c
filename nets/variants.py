"""Networks that differ from another one in their default arguments only."""

from __future__ import annotations

import functools
from collections.abc import Callable


def variant(function: Callable, name: str, *, image_size: int | None = None,
            **defaults) -> Callable:
  """Gives a network's function another name and other default arguments.

  Args:
    function: a network.
    name: of the result.
    image_size: of the images that the result was made for; None leaves that of `function`.
    **defaults: keyword arguments of `function`; a caller may still give others.

  Returns:
    A function with the attributes of `function`.
  """
  result = functools.update_wrapper(functools.partial(function, **defaults), function)
  result.__name__ = name
  if image_size is not None:
    result.default_image_size = image_size
  return result
