"""A small interpreter of pickle opcodes that can build plain values and nothing else.

A subclass of the standard library's unpickler with a strict `find_class` would control which
functions run, but not the time and memory a file can cost. That unpickler allocates memo tables for
any index in a file, and strings before it reads them; it sets attributes of any target of BUILD,
hashes nested tuples until the stack overflows, and copies a long argument any number of times. In
this one:

- a name gives a `Named` from the caller's table, never a module's attribute; nothing is imported;
- lengths are checked against the rest of the file before reading; otherwise an opcode costs at most
  a few hundred bytes, and there are at most `_MOST_OPCODES` of them;
- the memo is a dictionary; functions in the table charge what they copy (`spend`) to an allowance
  of a few times the file's size;
- containers are exactly `list`, `tuple` and `dict`, keys are short text, bytes or integers;
- `check_tree` bounds the size of the result when unfolded, since shared parts may be visited often.

Python 2 strings, which are bytes, are read as latin1.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from files.plain_values import check_key

_MOST_OPCODES = 2 ** 23
_MOST_ARGUMENTS = 8
_SPARE = 2 ** 20  # Allowance of small files, in bytes.


class UnknownNameError(ValueError):
  """A pickle has an object of a class that the caller's table lacks.

  Attributes:
    name: of the class or function, with its module.
  """

  def __init__(self, name: str):
    super().__init__(f'the name {name!r}, which is not an array, container, number or text')
    self.name = name


@dataclasses.dataclass(frozen=True)
class Named:
  """The stand-in for a global named in pickles.

  Attributes:
    name: the module and the name.
    function: `function(spend, *arguments)` if pickles may call it; it checks its arguments, and
      calls `spend(size)`, which may raise, before it creates anything that grows with them.
    value: anything else the caller needs to know about it.
  """
  name: str
  function: Callable[..., Any] | None = None
  value: Any = None


def load(file: BinaryIO, size: int, names: Mapping[str, Named], *,
         build: Callable[..., Any], persistent: Callable[[Any], Any] | None = None) -> Any:
  """Reads one pickle.

  Args:
    file: open at the start of the pickle; left open after its end.
    size: maximum number of bytes from here on.
    names: `{'module name': stand-in}`.
    build: `build(spend, target, state)` applies a pickled state to `target`, in place.
    persistent: returns the object for a persistent id.

  Returns:
    The pickled value; not yet checked by `check_tree`.

  Raises:
    ValueError, TypeError, LookupError: if the pickle is damaged or not plain data.
  """
  return _Machine(file, size, names, build=build, persistent=persistent).run()


class _Machine:
  """Stack, memo and file while one pickle is read."""

  def __init__(self, file: BinaryIO, size: int, names: Mapping[str, Named], *,
               build: Callable[..., Any], persistent: Callable[[Any], Any] | None):
    self._file, self._left = file, size
    self._names, self._build, self._persistent = names, build, persistent
    self._stack: list[Any] = []
    self._outer: list[list[Any]] = []  # The stacks below the marks.
    self._memo: dict[int, Any] = {}
    self._allowance = 4 * size + _SPARE

  def run(self) -> Any:
    for _ in range(_MOST_OPCODES):
      opcode = self._read(1)
      if opcode == b'.':
        return self._stack.pop()
      handler = _HANDLERS.get(opcode)
      if handler is None:
        raise ValueError(f'the pickle opcode {opcode!r}, which plain data does not need')
      handler(self)
    raise ValueError(f'a pickle of more than {_MOST_OPCODES:,} opcodes')

  def spend(self, size: int) -> None:
    """Counts copied bytes; raises once they far exceed the size of the file."""
    self._allowance -= size
    if self._allowance < 0:
      raise ValueError('a pickle that copies its data over and over')

  # Reading.

  def _read(self, length: int) -> bytes:
    if length > self._left:
      raise ValueError(f'a length of {length:,} bytes with {self._left:,} left in the file')
    data = self._file.read(length)
    if len(data) != length:
      raise ValueError('a truncated file')
    self._left -= length
    return data

  def _number(self, width: int) -> int:
    return int.from_bytes(self._read(width), 'little')

  def _line(self, longest: int | None = None) -> bytes:
    longest = self._left if longest is None else min(longest, self._left)
    line = self._file.readline(longest)
    self._left -= len(line)
    if not line.endswith(b'\n'):
      raise ValueError('an unterminated line')
    return line[:-1]

  def constant(self, value: Any) -> None:
    self._stack.append(value)

  def unsigned(self, width: int) -> None:
    self._stack.append(self._number(width))

  def signed(self, width: int) -> None:
    if width > 16:
      raise ValueError(f'an integer of {width:,} bytes')
    self._stack.append(int.from_bytes(self._read(width), 'little', signed=True))

  def signed_counted(self, width: int) -> None:
    self.signed(self._number(width))

  def integer_line(self) -> None:
    line = self._line(64).removesuffix(b'L')
    if not re.fullmatch(rb'-?\d{1,38}', line):
      raise ValueError(f'the number {line!r}')
    self._stack.append({b'00': False, b'01': True}.get(line, int(line)))

  def float_line(self) -> None:
    self._stack.append(float(self._line(64)))

  def float_binary(self) -> None:
    self._stack.append(struct.unpack('>d', self._read(8))[0])

  def payload(self, width: int, convert: Callable[[bytes], Any]) -> None:
    self._stack.append(convert(self._read(self._number(width))))

  def string_line(self) -> None:
    line = self._line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b'\'"':
      raise ValueError('text without quotes')
    # Python 2 wrote only these escapes in strings.
    if re.search(rb'\\(?![\'"nrtx])', line[1:-1].replace(rb'\\', b'')):
      raise ValueError('text with an unknown escape')
    self._stack.append(line[1:-1].decode('unicode_escape'))

  def unicode_line(self) -> None:
    self._stack.append(self._line().decode('raw_unicode_escape'))

  # The stack.

  def mark(self) -> None:
    self._outer.append(self._stack)
    self._stack = []

  def _to_mark(self) -> list[Any]:
    items, self._stack = self._stack, self._outer.pop()
    return items

  def pop(self) -> None:
    if self._stack:
      self._stack.pop()
    else:
      self._to_mark()

  def duplicate(self) -> None:
    self._stack.append(self._stack[-1])

  def put(self, index: int) -> None:
    self._memo[index] = self._stack[-1]

  def get(self, index: int) -> None:
    self._stack.append(self._memo[index])

  def _index_line(self) -> int:
    line = self._line(16)
    if not re.fullmatch(rb'\d{1,10}', line):
      raise ValueError(f'the memo index {line!r}')
    return int(line)

  # Containers.

  def tuple_of(self, count: int) -> None:
    if len(self._stack) < count:
      raise ValueError('a tuple without items')
    self._stack[-count:] = [tuple(self._stack[-count:])]

  def append(self, items: list[Any]) -> None:
    target = self._stack[-1]
    if type(target) is not list:
      raise ValueError(f'an append to {_type_of(target)}')
    target.extend(items)

  def set_items(self, items: list[Any], target: Any) -> None:
    if type(target) is not dict or len(items) % 2:
      raise ValueError(f'items set in {_type_of(target)}')
    for i in range(0, len(items), 2):
      check_key(items[i])
      target[items[i]] = items[i + 1]

  def set_last_item(self) -> None:
    value, key = self._stack.pop(), self._stack.pop()
    self.set_items([key, value], self._stack[-1])

  def new_dict(self) -> None:
    result: dict[Any, Any] = {}
    self.set_items(self._to_mark(), result)
    self._stack.append(result)

  # Names, calls and states.

  def _push_named(self, module: Any, name: Any) -> None:
    if type(module) is not str or type(name) is not str:
      raise ValueError('a name that is not text')
    named = self._names.get(f'{module} {name}') if len(module) + len(name) < 256 else None
    if named is None:
      shown = f'{module[:64]}.{name[:64]}'
      raise UnknownNameError(shown)
    self._stack.append(named)

  def global_lines(self) -> None:
    self._push_named(self._line(256).decode(), self._line(256).decode())

  def global_stack(self) -> None:
    name, module = self._stack.pop(), self._stack.pop()
    self._push_named(module, name)

  def call(self) -> None:
    arguments, named = self._stack.pop(), self._stack.pop()
    if type(arguments) is not tuple or type(named) is not Named or named.function is None:
      raise ValueError(f'a call of {_type_of(named)}')
    if len(arguments) > _MOST_ARGUMENTS:
      raise ValueError(f'a call with {len(arguments):,} arguments')
    self._stack.append(named.function(self.spend, *arguments))

  def build(self) -> None:
    state = self._stack.pop()
    self._build(self.spend, self._stack[-1], state)

  def persistent_id(self) -> None:
    if self._persistent is None:
      raise ValueError('a reference to data outside the pickle')
    self._stack.append(self._persistent(self._stack.pop()))

  def protocol(self) -> None:
    if self._number(1) > 5:
      raise ValueError('a pickle protocol above 5')

  def frame(self) -> None:
    if self._number(8) > self._left:
      raise ValueError('a frame longer than the file')


def _type_of(value: Any) -> str:
  return value.name if type(value) is Named else type(value).__name__


def _latin1(data: bytes) -> str:
  return data.decode('latin1')


def _utf8(data: bytes) -> str:
  return data.decode('utf-8', 'surrogatepass')


_HANDLERS: dict[bytes, Callable[[_Machine], Any]] = {
  b'(': _Machine.mark,
  b'0': _Machine.pop,
  b'1': _Machine._to_mark,
  b'2': _Machine.duplicate,
  b'F': _Machine.float_line,
  b'G': _Machine.float_binary,
  b'I': _Machine.integer_line,
  b'L': _Machine.integer_line,
  b'J': lambda m: m.signed(4),
  b'K': lambda m: m.unsigned(1),
  b'M': lambda m: m.unsigned(2),
  b'\x8a': lambda m: m.signed_counted(1),
  b'\x8b': lambda m: m.signed_counted(4),
  b'N': lambda m: m.constant(None),
  b'\x88': lambda m: m.constant(True),
  b'\x89': lambda m: m.constant(False),
  b'S': _Machine.string_line,
  b'T': lambda m: m.payload(4, _latin1),
  b'U': lambda m: m.payload(1, _latin1),
  b'V': _Machine.unicode_line,
  b'X': lambda m: m.payload(4, _utf8),
  b'\x8c': lambda m: m.payload(1, _utf8),
  b'\x8d': lambda m: m.payload(8, _utf8),
  b'B': lambda m: m.payload(4, bytes),
  b'C': lambda m: m.payload(1, bytes),
  b'\x8e': lambda m: m.payload(8, bytes),
  b'\x96': lambda m: m.payload(8, bytearray),
  b')': lambda m: m.constant(()),
  b't': lambda m: m.constant(tuple(m._to_mark())),
  b'\x85': lambda m: m.tuple_of(1),
  b'\x86': lambda m: m.tuple_of(2),
  b'\x87': lambda m: m.tuple_of(3),
  b']': lambda m: m.constant([]),
  b'l': lambda m: m.constant(m._to_mark()),
  b'a': lambda m: m.append([m._stack.pop()]),
  b'e': lambda m: m.append(m._to_mark()),
  b'}': lambda m: m.constant({}),
  b'd': _Machine.new_dict,
  b's': _Machine.set_last_item,
  b'u': lambda m: m.set_items(m._to_mark(), m._stack[-1]),
  b'p': lambda m: m.put(m._index_line()),
  b'q': lambda m: m.put(m._number(1)),
  b'r': lambda m: m.put(m._number(4)),
  b'\x94': lambda m: m.put(len(m._memo)),
  b'g': lambda m: m.get(m._index_line()),
  b'h': lambda m: m.get(m._number(1)),
  b'j': lambda m: m.get(m._number(4)),
  b'c': _Machine.global_lines,
  b'\x93': _Machine.global_stack,
  b'R': _Machine.call,
  b'\x81': _Machine.call,
  b'b': _Machine.build,
  b'Q': _Machine.persistent_id,
  b'\x80': _Machine.protocol,
  b'\x95': _Machine.frame,
}
