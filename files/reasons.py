"""The exceptions that readers raise on damaged files, and their reasons in messages."""

from __future__ import annotations

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable

# All that damaged data makes the readers of Python and NumPy raise. Deep nesting is a RuntimeError.
# A MemoryError is the file's fault only if the sizes that it claims are believed.
FAILURES = (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
            TypeError, ValueError, lzma.LZMAError, struct.error, tarfile.TarError,
            zipfile.BadZipFile, zlib.error)
_LONGEST = 300
# Beginning of TensorFlow's message for a failed check, followed by its parts in brackets.
_ASSERTION = 'assertion failed: ['
_MOST_NAMES = 20


def short_reason(error: BaseException) -> str:
  """Returns the reason of an error, on one line.

  TensorFlow's names for the parts of a graph are removed. Words are not cut.

  Args:
    error: any exception.
  """
  if isinstance(error, RecursionError):
    return 'parts that are nested too deeply'
  if isinstance(error, UnicodeDecodeError):
    return f'text that is not {error.encoding}, from the byte {error.start:,} on'
  if isinstance(error, KeyError) and error.args and not (
      isinstance(error.args[0], str) and ' ' in error.args[0]):
    return f'{error.args[0]!r} is missing'
  text = getattr(error, 'message', None) or _text_of(error)
  # Nested names of nodes and functions come before the reason, and more after it.
  text = re.split(r'\{\{\w+ [^{}]*\}\}\s*', text.split('\n\t [[')[0])[-1].strip()
  lines = text.splitlines() or [type(error).__name__]
  # Here the reason comes last, after the path to the node.
  line = lines[-1] if lines[0].startswith('Graph execution error') else lines[0]
  line = re.sub(r' \[Op:\w+\].*$', '', line).strip()
  if line.startswith(_ASSERTION) and line.endswith(']'):
    line = line[len(_ASSERTION):-1].replace('] [', ' ')
  line = ''.join(letter if letter.isprintable() else '\ufffd' for letter in line)
  if len(line) > _LONGEST:  # A sentence ends before a capital, and not in a number or a path.
    line = re.split(r'(?<=[.;!?])\s+(?=[A-Z])', line, maxsplit=1)[0]
  if len(line) > _LONGEST:
    found = re.match(rf'.{{1,{_LONGEST}}}(?!\S)|\S+', line)
    line = (found[0] if found else line[:_LONGEST]).rstrip() + ' …'
  return line


def listed(names: Iterable[object]) -> str:
  """Lists names for a message: the first ones and the number of others; 'none' if empty."""
  texts = list(map(str, names))
  more = f' and {len(texts) - _MOST_NAMES} more' if len(texts) > _MOST_NAMES else ''
  return ', '.join(texts[:_MOST_NAMES]) + more if texts else 'none'


def _text_of(error: BaseException) -> str:
  """Returns the message of an error; a KeyError would put it in quotes."""
  if isinstance(error, KeyError) and error.args:
    return str(error.args[0])
  return str(error)
