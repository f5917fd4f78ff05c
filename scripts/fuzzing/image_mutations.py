"""Damaged copies of image files: damaged bytes, and damaged chunks with correct checksums."""

from __future__ import annotations

import random
from collections.abc import Sequence

from scripts.fuzzing import mutations
from scripts.fuzzing.image_parts import FORMATS, Part, join

_HEADER_BYTES = 32
# Sizes at the limits of 14, 16, 24, 31 and 32 bits, and of the number of pixels allowed.
_SIZES = (0, 1, 2, 3, 255, 256, 4095, 13_377, 13_378, 2 ** 14 - 1, 2 ** 14, 2 ** 15, 2 ** 16 - 1,
          2 ** 24 - 1, 178_956_970, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1)


def _damage_header(part: Part, rng: random.Random) -> Part:
  """Writes a size or flips a flag near the beginning of a part."""
  body = bytearray(part.body)
  if not body:
    return Part(rng.choice((b'', part.kind)), rng.randbytes(rng.randrange(9)))
  at = rng.randrange(min(len(body), _HEADER_BYTES))
  if rng.random() < 0.4:
    body[at] ^= 1 << rng.randrange(8)
  else:
    width = rng.choice((1, 2, 2, 3, 4, 4))
    number = rng.choice(_SIZES) % 256 ** width
    body[at:at + width] = number.to_bytes(width, rng.choice(('little', 'big')))
  return Part(part.kind, bytes(body))


def _damage_parts(parts: list[Part], others: Sequence[Part], rng: random.Random) -> dict[int, int]:
  """Changes a list of parts; returns wrong lengths to write, by index."""
  at = rng.randrange(len(parts))
  match rng.choice(('header', 'header', 'header', 'body', 'length', 'repeat', 'remove', 'swap',
                    'move', 'insert', 'kind')):
    case 'header':
      parts[at] = _damage_header(parts[at], rng)
    case 'body':
      parts[at] = parts[at]._replace(body=mutations.damage(parts[at].body, rng))
    case 'length':
      length = len(parts[at].body)
      return {at: rng.choice((length + rng.randrange(-9, 9), *_SIZES)) % 2 ** 32}
    case 'repeat':
      parts[at:at] = [parts[at]] * rng.choice((1, 1, 2, 50))
    case 'remove':
      del parts[at]
    case 'swap':
      other = rng.randrange(len(parts))
      parts[at], parts[other] = parts[other], parts[at]
    case 'move':
      parts.insert(rng.randrange(len(parts)), parts.pop(at))
    case 'insert':
      parts.insert(at, rng.choice(others))
    case 'kind':
      parts[at] = parts[at]._replace(kind=rng.choice(others).kind)
  return {}


def damaged(name: str, samples: Sequence[bytes], seed: int | str) -> bytes:
  """Damages one of several files of a format.

  Args:
    name: a name of `image_parts.FORMATS`.
    samples: undamaged files; one is damaged, and may get parts of another.
    seed: determines all choices.
  """
  rng = random.Random(seed)
  data = rng.choice(samples)
  if rng.random() < 0.35:
    return mutations.damage(data, rng)
  parts, others = FORMATS[name].split(data), FORMATS[name].split(rng.choice(samples))
  lengths = {}
  for _ in range(rng.choice((1, 1, 1, 2, 3))):
    if parts:
      lengths = _damage_parts(parts, others, rng)
  result = join(name, parts, lengths)
  return mutations.damage(result, rng) if result and rng.random() < 0.15 else result
