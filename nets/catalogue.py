"""The catalogue of the networks, made from their records."""

from __future__ import annotations

from nets import complexity, nets_factory
from nets.record import Published

HEADERS = ('name', 'parameters', 'multiply-adds (million)', 'image size', 'preprocessing', 'head',
           'published weights', 'classes', 'top-1', 'top-5', 'reference')
ALIGNMENT = ('left', *['right'] * 3, *['left'] * 3, *['right'] * 3, 'left')
_NONE = '–'


def _weights(published: Published) -> str:
  conditions = []
  if published.image_size:
    conditions.append(f'measured at {published.image_size}')
  if published.preprocessing:
    conditions.append(f'preprocessing: {published.preprocessing}')
  return published.name + (f' ({", ".join(conditions)})' if conditions else '')


def row(name: str) -> tuple[str, ...]:
  """Returns a network's row, with one cell per element of `HEADERS`.

  Parameters and multiply-adds are counted at the network's own image size, with its own numbers of
  channels and classes and without auxiliary heads.

  Args:
    name: a name of `nets_factory.NETS`.

  Raises:
    ValueError: if there is no network with this name.
  """
  net, size = nets_factory.get_net(name), complexity.measure(name)
  published = net.published
  accuracies = (published.top_1, published.top_5) if published else (None, None)
  return (
      name, f'{size.parameters:,}', f'{size.multiply_adds / 1e6:,.0f}', str(net.image_size),
      net.preprocessing, ','.join(net.head), _weights(published) if published else _NONE,
      str(published.classes) if published else _NONE,
      *(_NONE if value is None else f'{value:.1f}' for value in accuracies), net.reference)
