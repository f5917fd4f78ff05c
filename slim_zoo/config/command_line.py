"""Starting a program: its flags, its help, and what happens when it fails."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from files import memory, reasons
from slim_zoo.config import flag_values, help_text
from slim_zoo.config.programs import Retired


def run(main: Callable[..., int | None], config_class: type | None = None, *,
        retired: Retired | None = None, takes_arguments: bool = False,
        uses_tensorflow: bool = True) -> None:
  """Runs a program; a user's mistake ends it with one message and exit code 1.

  An error with an attribute `exit_code` ends it with that code instead.

  `--verbosity=1` (absl's debug level) shows where the error came from.

  Args:
    main: the program. It is called with the parsed command line, `flag_values.Parsed`, if there is
      a config class. TensorFlow is imported just before the call. Returns an exit code.
    config_class: the program's options; None for a script that defines its flags itself.
    retired: flags of TF-Slim that are accepted at their defaults only.
    takes_arguments: whether `main` also gets the list of what is on the command line besides flags,
      before, between or after them; otherwise nothing may be there.
    uses_tensorflow: whether to import TensorFlow, which takes seconds.
  """
  if config_class:
    flag_values.define(config_class)
  define_retired(retired or {})
  _define_help(config_class, inspect.getmodule(main).__doc__ or '')
  # Names of files and classes need not be UTF-8, and are only shown here.
  sys.stdout.reconfigure(errors='backslashreplace')  # type: ignore[union-attr]
  flags.FLAGS.set_gnu_getopt(True)
  app.run(functools.partial(_guarded, main, config_class, retired=retired or {},
                            takes_arguments=takes_arguments, uses_tensorflow=uses_tensorflow),
          flags_parser=_parse)


def _guarded(main: Callable[..., int | None], config_class: type | None, arguments: list[str], *,
             retired: Retired, takes_arguments: bool, uses_tensorflow: bool) -> int:
  """Calls `main` and turns what it raises into a message and an exit code."""
  expected: tuple[type[BaseException], ...] = (ValueError, OSError, MemoryError)
  try:
    if len(arguments) > 1 and not takes_arguments:
      raise ValueError(f'Expected: flags of the form --name=value. Received: {arguments[1]!r}.')
    refuse_retired(retired, flags.FLAGS)
    values: list[Any] = [flag_values.read(config_class)] if config_class else []
    if uses_tensorflow:
      import_tensorflow_quietly()
      import tensorflow as tf
      expected += (tf.errors.OpError,)
      if logging.get_verbosity() < logging.DEBUG:
        tf.get_logger().setLevel('WARNING')  # Otherwise it says how replicas exchange gradients.
    return main(*values, *([arguments[1:]] if takes_arguments else [])) or 0
  except KeyboardInterrupt:
    print('Interrupted.', file=sys.stderr)
    return 130
  except Exception as error:
    if not isinstance(error, expected) or logging.get_verbosity() >= logging.DEBUG:
      # Not raised again: Python would keep the traceback, and with it a data set that is being
      # read, whose thread then waits for Python at exit, and Python for the thread.
      traceback.print_exc()
    else:
      print(f'Error: {message(error)}', file=sys.stderr)
    return getattr(error, 'exit_code', 1)


def call(main: Callable[..., int | None], config_class: type, arguments: list[str], *,
         retired: Retired | None = None, takes_arguments: bool = False) -> int:
  """Calls a program from Python; returns its exit code.

  Raises:
    ValueError: if the arguments cannot be understood, or anything that the program raises.
  """
  values = flags.FlagValues()
  define_retired(retired or {}, values)
  parsed: Any
  parsed, rest = flag_values.parse(config_class, arguments, values)
  if rest and not takes_arguments:
    raise ValueError(f'Expected: flags of the form --name=value. Received: {rest[0]!r}.')
  refuse_retired(retired or {}, values)
  return main(parsed, *([rest] if takes_arguments else [])) or 0


def import_tensorflow_quietly() -> None:
  """Imports TensorFlow without its notes on how it was built.

  TensorFlow 2.21 writes them to file descriptor 2 before it reads TF_CPP_MIN_LOG_LEVEL, and has no
  setting for them. Everything that is not such a note is shown.
  """
  if 'tensorflow' in sys.modules:
    return
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Errors come as exceptions.
  sys.stderr.flush()
  kept = os.dup(2)
  with tempfile.TemporaryFile() as aside:
    os.dup2(aside.fileno(), 2)
    try:
      import tensorflow  # noqa: F401
    finally:
      os.dup2(kept, 2)
      os.close(kept)
      aside.seek(0)
      lines = aside.read().decode(errors='replace').splitlines()
      notes = ('I0000 ', 'WARNING: All log messages before absl::InitializeLog')
      shown = [line for line in lines if line and not line.startswith(notes)]
      if shown:
        print(*shown, sep='\n', file=sys.stderr)


def _parse(arguments: list[str]) -> list[str]:
  """Parses flags; a mistake is one message."""
  try:
    return flags.FLAGS(arguments)
  except flags.Error as error:
    print(f'Error: {error}\nSee --help.', file=sys.stderr)
  except UnicodeDecodeError as error:
    files = [argument for argument in arguments if argument.startswith(('--flagfile', '-flagfile'))]
    print(f'Error: {" ".join(files)}: expected a text file with one flag per line. Received: '
          f'{reasons.short_reason(error)}. Save it as UTF-8, or name another file.',
          file=sys.stderr)
  sys.exit(1)


class _HelpFlag(flags.BooleanFlag):
  """A flag that prints the program's help and ends it, successfully."""

  def __init__(self, name: str, text: str, render: Callable[[], str], **more: Any):
    self._render = render
    super().__init__(name, False, text, allow_override=True, **more)

  def parse(self, argument: Any) -> None:
    if self._parse(argument):
      print(self._render())
      sys.exit(0)


def _define_help(config_class: type | None, description: str) -> None:
  """Replaces absl's help, which knows no topics and ends with exit code 1."""
  if config_class is None:
    return
  app.define_help_flags()
  for name, short, is_full in (('help', 'h', False), ('helpshort', '?', False),
                               ('helpfull', None, True)):
    render = functools.partial(help_text.render, config_class, description, is_full=is_full)
    flags.DEFINE_flag(_HelpFlag(name, 'Shows the help.', render, short_name=short))


def define_retired(retired: Retired, values: flags.FlagValues = flags.FLAGS) -> None:
  """Defines flags of TF-Slim without effect."""
  define: dict[type, Callable] = {str: flags.DEFINE_string, int: flags.DEFINE_integer,
                                  bool: flags.DEFINE_bool}
  for name, (default, advice) in retired.items():
    define[type(default)](name, default, f'No longer supported: {advice}.', flag_values=values)


def refuse_retired(retired: Retired, values: flags.FlagValues) -> None:
  """Stops if a flag that no longer has an effect is given another value than its default.

  Raises:
    ValueError: with what to do instead.
  """
  for name, (default, advice) in retired.items():
    if values[name].value != default:
      raise ValueError(f'--{name} is no longer supported: {advice}. Expected: {default!r}, its '
                       f'default. Received: {values[name].value!r}.')


def message(error: BaseException) -> str:
  """Returns the message that is printed for a mistake of the user or a failure outside."""
  # TensorFlow puts its own names of the operation around the reason.
  text = re.sub(r'^\{\{function_node \S+\}\} | \[Op:\w+\]( name: .*)?$', '', str(error))
  is_disk = 'No space left' in text or 'quota exceeded' in text
  if type(error).__name__ == 'ResourceExhaustedError' and not is_disk:
    return (f'Out of memory: {text.splitlines()[0].rstrip(".")}. Lower --batch_size, or the image '
            'size.')
  if isinstance(error, MemoryError):
    return (f'Out of memory: {text.rstrip(".") or "more was needed"}. This process may use '
            f'{memory.available() / 2**30:.1f} GiB. Lower --batch_size or the image size, or use '
            'less data at a time.')
  return text or type(error).__name__
