"""Image classification networks with TF-Slim's names, for scripts and notebooks.

    import slim_zoo
    model = slim_zoo.load('zoo:mobilenet_v1_1.0_224')
    model.predict(['cat.jpg'], top_k=3)

The functions are those of `slim_zoo.api`. TensorFlow is imported when the first of them is used.
"""

from __future__ import annotations

from typing import Any

__all__ = ['Model', 'build_network', 'list_networks', 'load', 'load_weights']  # noqa: F822


def __getattr__(name: str) -> Any:
  """Imports what is asked for (PEP 562)."""
  if name in __all__:
    from slim_zoo import api
    return getattr(api, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])
