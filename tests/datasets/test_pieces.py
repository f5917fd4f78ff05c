from __future__ import annotations

import numpy as np
import pytest
import samples

from datasets import dataset, dataset_factory, indexed, pieces


@pytest.mark.parametrize(('count', 'expected'), [
  (1, 1), (15, 1), (16, 2), (31, 2), (32, 4), (1000, 64)])
def test_every_example_is_in_one_piece(monkeypatch, count, expected):
  monkeypatch.setattr(pieces, 'LEAST', 8)
  found = pieces.by_id(dataset.ids([f'{i}.jpg' for i in range(count)]))
  assert len(found) == expected
  assert sorted(np.concatenate(found)) == list(range(count))
  assert all((np.diff(positions) > 0).all() for positions in found)


def test_a_new_example_changes_one_piece(monkeypatch):
  monkeypatch.setattr(pieces, 'LEAST', 8)
  names = [f'{i}.jpg' for i in range(50)]

  def parts(names):
    return {tuple(names[i] for i in piece) for piece in pieces.by_id(dataset.ids(names))}

  before, after = parts(names), parts([*names[:20], 'new.jpg', *names[20:]])
  assert (len(before - after), len(after - before)) == (1, 1)


def test_pieces_of_records_are_the_files(tmp_path):
  for shard, labels in enumerate([[0, 1] * 10, [1], [1, 0] * 5]):
    samples.write_records(tmp_path / f'a_train_{shard}.tfrecord', labels, start=30 * shard)
  whole = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  for split in [whole] + [dataset_factory.get_dataset('tfrecord', name, tmp_path)
                          for name in ('train', 'validation')]:
    found = split.examples.pieces()
    assert np.concatenate([piece.positions for piece in found]).tolist() == list(
      range(split.num_examples))
    for piece in found:
      names = [split.examples.facts(raw)['name'].numpy().decode() for raw in piece.order()]
      assert names == [split.examples.names[i] for i in piece.positions]
      assert {name.split(':')[0] for name in names} == {piece.files[0].rsplit('/', 1)[1]}
  assert [len(piece.positions) for piece in whole.examples.pieces()] == [20, 1, 10]


@pytest.mark.parametrize('arguments', [
  {'paths': [f'/{i}.png' for i in range(40)]},
  {'encoded': [b''] * 40, 'files': ['train.p', 'more.p']}])
def test_pieces_of_images(monkeypatch, arguments):
  monkeypatch.setattr(pieces, 'LEAST', 8)
  names = [f'{i}.png' for i in range(40)]
  found = indexed.IndexedExamples(names, [0] * 40, **arguments).pieces()
  assert len(found) == 4
  for piece in found:
    assert [raw.numpy() for raw in piece.order()] == piece.positions.tolist()
    # Examples in memory were read from all files.
    assert list(piece.files) == arguments.get('files', [f'/{i}.png' for i in piece.positions])
