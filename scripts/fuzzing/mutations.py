"""Damaged copies of files, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from scripts.fuzzing import writers

_LENGTHS = (1, 1, 2, 4, 8, 30)
# Numbers at which lengths, counts and signs often go wrong.
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 2 ** 15, 2 ** 16 - 1, 2 ** 16, 2 ** 24, 2 ** 31 - 1,
            2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 62, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1)


def _number(rng: random.Random) -> bytes:
  number = rng.choice(_NUMBERS)
  width = rng.choice((1, 2, 4, 8, 0))
  if not width:
    return writers.varint(number)
  return (number & 256 ** width - 1).to_bytes(width, rng.choice(('little', 'big')))


def _damage_once(data: bytearray, rng: random.Random) -> None:
  at, length = rng.randrange(len(data)), rng.choice(_LENGTHS)
  match rng.choice(('bit', 'bit', 'byte', 'byte', 'bytes', 'number', 'number', 'insert', 'repeat',
                    'copy', 'remove', 'cut')):
    case 'bit':
      data[at] ^= 1 << rng.randrange(8)
    case 'byte':
      data[at] = rng.randrange(256)
    case 'bytes':
      data[at:at + length] = rng.choice((rng.randbytes(length), bytes(length), b'\xff' * length))
    case 'number':
      number = _number(rng)
      data[at:at + len(number)] = number
    case 'insert':
      data[at:at] = rng.choice((rng.randbytes(length), _number(rng)))
    case 'repeat':
      data[at:at] = data[at:at + length]
    case 'copy':
      other = rng.randrange(len(data))
      data[at:at + length] = data[other:other + length]
    case 'remove':
      del data[at:at + length]
    case 'cut':
      if rng.random() < 0.3:
        del data[at:]


def damage(data: bytes, rng: random.Random) -> bytes:
  """Changes bits, bytes or numbers; inserts, repeats, overwrites or removes parts; or truncates."""
  damaged = bytearray(data)
  for _ in range(rng.choice((1, 1, 2, 5))):
    if damaged:
      _damage_once(damaged, rng)
  return bytes(damaged)


def mutations(data: bytes, count: int, seed: int | str) -> Iterator[bytes]:
  """Yields `count` damaged copies."""
  rng = random.Random(seed)
  for _ in range(count):
    yield damage(data, rng)


def damage_table(data: bytes, rng: random.Random) -> bytes:
  """Damages a TensorFlow table, mostly within a block whose checksum is then corrected.

  Args:
    data: an undamaged table.
    rng: makes all choices.
  """
  if rng.random() < 0.3:
    return damage(data, rng)
  blocks = _blocks(data)
  at = rng.randrange(len(blocks) + 1)
  if at == len(blocks):  # The index block.
    return writers.table(blocks, damage(_listing(blocks), rng))
  key, content = blocks[at]
  blocks[at] = key, damage(content, rng)
  return writers.table(blocks)


def _listing(blocks: list[tuple[bytes, bytes]]) -> bytes:
  places, at = [], 0
  for key, content in blocks:
    places.append((key, writers.varint(at) + writers.varint(len(content))))
    at += len(content) + 5
  return writers.block(places)


def _blocks(data: bytes) -> list[tuple[bytes, bytes]]:
  """Splits a table into the key and content of each block."""
  def number(at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
      value |= (data[at] & 127) << shift
      at, shift = at + 1, shift + 7
      if data[at - 1] < 128:
        return value, at

  at = len(data) - 48
  for _ in range(2):
    _, at = number(at)
  begin, at = number(at)
  size, at = number(at)
  end = begin + size - 4 * (int.from_bytes(data[begin + size - 4:begin + size], 'little') + 1)
  blocks, at, key = [], begin, b''
  while at < end:
    shared, at = number(at)
    own, at = number(at)
    length, at = number(at)
    key = key[:shared] + data[at:at + own]
    place, after = number(at + own)
    count, _ = number(after)
    blocks.append((key, data[place:place + count]))
    at += own + length
  return blocks
