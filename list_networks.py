"""Prints the networks: size, head, and published weights, as a Markdown table.

    python list_networks.py --model_name='mobilenet_*'

docs/networks.md has the table of all networks.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.ListNetworks


def main(parsed: Parsed[programs.ListNetworks]) -> None:
  """Prints the networks that were asked for."""
  import tabulate

  from files import progress
  from nets import catalogue, nets_factory  # Imports TensorFlow.
  pattern = parsed.config.selection.model_name
  names = nets_factory.list_nets(pattern)
  if not names:
    nets_factory.get_net(pattern)  # Raises, and names the closest.
  rows = [catalogue.row(name) for name in progress.show(names, len(names), unit='network')]
  print(tabulate.tabulate(rows, catalogue.HEADERS, 'github', disable_numparse=True,
                          colalign=catalogue.ALIGNMENT))


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
