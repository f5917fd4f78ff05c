"""The table as text, as CSV and as a picture."""

from __future__ import annotations

import csv

import numpy as np
import PIL.Image
import pytest

from slim_zoo.comparison import picture, results
from slim_zoo.report.statistics import Interval


def _row(network, accuracy, **arguments):
  values = {'short_name': f'$of_{network}.ckpt', 'num_classes': 5, 'latency_ms': 12.5,
            'num_bytes': 4_000_000, 'parameters': 1_000_000, 'image_size': 224, 'width': 1024,
            'minutes': None if accuracy is None else 1.5, 'note': 'a note', **arguments}
  return results.Row(network, f'weights/of_{network}.ckpt', accuracy and Interval(
      accuracy, accuracy - 0.05, accuracy + 0.05), **values)


_ROWS = [_row('lenet', 0.5), _row('vgg_16', None, note='not tried: needs about 9.0 minutes'),
         _row('cifarnet', 0.7, note='best', is_good=True), _row('overfeat', 0.5)]


def test_most_accurate_networks_come_first():
  assert [row.network for row in results.sort(_ROWS)] == ['cifarnet', 'lenet', 'overfeat', 'vgg_16']


def test_csv_has_all_columns(tmp_path):
  results.write(tmp_path / 'compared.csv', results.sort(_ROWS))
  with open(tmp_path / 'compared.csv', newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  assert [row['weights'] for row in rows][:2] == ['weights/of_cifarnet.ckpt',
                                                  'weights/of_lenet.ckpt']
  assert [row['accuracy'] for row in rows] == ['0.7', '0.5', '0.5', '']
  assert float(rows[0]['accuracy_low']) == pytest.approx(0.65)
  assert {name: rows[3][name] for name in ('minutes', 'note', 'megabytes', 'feature_width')} == {
    'minutes': '', 'note': 'not tried: needs about 9.0 minutes', 'megabytes': '4.000',
    'feature_width': '1024'}


def test_text_has_a_line_for_each_network():
  lines = results.text(results.sort(_ROWS)).splitlines()
  assert len(lines) == 2 + len(_ROWS)
  assert '0.650–0.750' in lines[2] and lines[2].endswith('best')
  assert 'needs about 9.0 minutes' in lines[-1]


@pytest.mark.parametrize('rows', [
  _ROWS, _ROWS[:1], [_row('lenet', 0.7, latency_ms=0.01), _row('vgg_16', 1.0, latency_ms=9e4)]])
def test_picture_has_a_marker_in_its_colour(tmp_path, rows):
  picture.draw(tmp_path / 'compared.png', rows)
  pixels = np.asarray(PIL.Image.open(tmp_path / 'compared.png').convert('RGB')).astype(int)
  is_green = (pixels[..., 1] - pixels[..., 0] > 40).any()
  assert is_green == any(row.is_good for row in rows)
  # Nothing is cut off at the sides.
  assert (pixels[:, [0, -1]] == 255).all()
