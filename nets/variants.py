"""Network functions: their image size, and variants that differ only in default arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, cast


class NetFunction(Protocol):
  """The function of a network, with the image size that it was designed for.

  Attributes:
    default_image_size: height and width in pixels, as in TF-Slim.
  """
  __name__: str
  default_image_size: int

  def __call__(self, images: Any, num_classes: int | None = ..., *args: Any,
               **arguments: Any) -> tuple[Any, dict]:
    """Applies the network; returns logits or features, and the end points."""


def default_image_size(size: int) -> Callable[[Callable], NetFunction]:
  """Returns a decorator that sets a network's image size, in pixels."""
  def decorate(function: Callable) -> NetFunction:
    network = cast(NetFunction, function)
    network.default_image_size = size
    return network

  return decorate


def variant(function: Callable, name: str, *, image_size: int | None = None,
            **defaults) -> NetFunction:
  """Gives a network's function another name and other default arguments.

  Args:
    function: a network.
    name: name of the result.
    image_size: size of the images that the result was made for; None keeps that of `function`.
    **defaults: keyword arguments of `function`; a caller may still give others.

  Returns:
    A function with the attributes of `function`.
  """
  result = cast(NetFunction, functools.update_wrapper(
      functools.partial(function, **defaults), function))
  result.__name__ = name
  if image_size is not None:
    result.default_image_size = image_size
  return result
