"""Prints the catalogue of the networks: their size, their head, and what weights are published.

python list_networks.py --model_name='mobilenet_*'
"""

from __future__ import annotations

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import tabulate
from absl import flags

from nets import catalogue, nets_factory

_MODEL_NAME = flags.DEFINE_string(
    'model_name', '*', 'Which networks; shell wildcards may stand in it.')


def main() -> None:
  """Prints the networks that were asked for as a table in Markdown."""
  names = nets_factory.list_nets(_MODEL_NAME.value)
  if not names:
    nets_factory.get_net(_MODEL_NAME.value)  # Raises, and names the closest.
  rows = [catalogue.row(name)
          for name in command_line.show_progress(names, len(names), 'network')]
  print(tabulate.tabulate(rows, catalogue.HEADERS, 'github', disable_numparse=True,
                          colalign=catalogue.ALIGNMENT))


if __name__ == '__main__':
  command_line.run(main)
