"""What the scripts share: settling flags with what a checkpoint knows, and ending on errors."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from absl import app, flags, logging

from files import memory, reasons


def _import_tensorflow() -> None:
  """Imports TensorFlow without its notes on how it was built.

  TensorFlow 2.21 writes them before it reads TF_CPP_MIN_LOG_LEVEL. Whatever is no note is shown.
  """
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


_import_tensorflow()

FLAGS = flags.FLAGS


def run(main: Callable[..., int | None], *, takes_arguments: bool = False) -> None:
  """Runs a script; a user's mistake ends it with one message and exit code 1.

  `--verbosity=1` (absl's debug level) shows where the error came from.

  Args:
    main: the script, called once flags are parsed; returns an exit code.
    takes_arguments: whether `main` is given a list of what is on the command line besides flags,
      before, between or after them; otherwise nothing may be.
  """
  def guarded(arguments: list[str]) -> int:
    import tensorflow as tf
    try:
      if takes_arguments:
        return main(arguments[1:]) or 0
      if len(arguments) > 1:
        raise ValueError(f'Expected flags of the form --name=value. Received: {arguments[1]!r}.')
      return main() or 0
    except KeyboardInterrupt:
      print('Interrupted.', file=sys.stderr)
      return 130
    except Exception as error:
      is_expected = isinstance(error, (ValueError, OSError, MemoryError, tf.errors.OpError))
      if not is_expected or logging.get_verbosity() >= logging.DEBUG:
        # Not raised again: Python keeps what ends it, and with it batches that are being made,
        # whose thread then waits forever for Python, and Python for the thread.
        traceback.print_exc()
      else:
        print(f'Error: {message(error)}', file=sys.stderr)
      return 1

  # Names of files and classes need not be UTF-8, and are only shown here.
  sys.stdout.reconfigure(errors='backslashreplace')
  FLAGS.set_gnu_getopt(takes_arguments)
  app.run(guarded, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
  """Parses flags as absl does, which does not expect a --flagfile that is no text."""
  try:
    return app.parse_flags_with_usage(arguments)
  except UnicodeDecodeError as error:
    files = [argument for argument in arguments if argument.startswith(('--flagfile', '-flagfile'))]
    print(f'Error: {" ".join(files)}: expected a text file with a flag on each line. Received: '
          f'{reasons.short_reason(error)}. Save it as UTF-8, or name another file.',
          file=sys.stderr)
    sys.exit(1)


def message(error: BaseException) -> str:
  """Returns what is printed of a user's mistake, or of what went wrong outside."""
  # TensorFlow puts its own names of the operation around what went wrong.
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


def refuse_retired(retired: Mapping[str, tuple[object, str]]) -> None:
  """Stops if a flag that cannot act any more is set to something else than its default.

  Args:
    retired: `{flag: (default, what to do instead)}`.

  Raises:
    ValueError: with what to do instead.
  """
  for name, (default, advice) in retired.items():
    if FLAGS[name].value != default:
      raise ValueError(f'--{name} cannot act any more: {advice}. Expected: {default!r}, its '
                       f'default. Received: {FLAGS[name].value!r}.')


def settle_bad_images(dataset, decode: Callable, choice: str,
                      known: Mapping[str, Sequence[str]] | None = None, *,
                      needs_all_classes: bool = False) -> tuple[str, ...]:
  """Does with images that cannot be decoded what --on_bad_image says.

  Args:
    dataset: a split, `dataset.Dataset`.
    decode: full decoding of an encoded image; its error makes the image bad.
    choice: 'error' or 'skip', as it was settled.
    known: the bad images by split, of a run that has decided already.
    needs_all_classes: whether a class may not lose all of its images, as in training.

  Returns:
    The names of those that are to be skipped.

  Raises:
    ValueError: if there are some and the choice is 'error'; or if what is left is no use.
  """
  from datasets import bad_images
  if known and dataset.split_name in known:
    return tuple(known[dataset.split_name])
  found = dataset.find_bad_images(decode)
  if found and choice == 'error':
    raise ValueError(f'{bad_images.describe(found)}\nRepair or remove them, or leave them out '
                     'with --on_bad_image=skip.')
  if found:
    print(f'Skipping, of the split {dataset.split_name!r}: {bad_images.describe(found)}')
  names = tuple(image.name for image in found)
  warning = bad_images.check_rest(dataset, names, needs_all_classes=needs_all_classes)
  if warning:
    print(warning)
  return names


def show_progress(items: Iterable, total: int, unit: str = 'batch') -> Iterable:
  """Shows how far it is while batches or other items are used; see `files.progress`."""
  from files import progress
  return progress.show(items, total, unit=unit)


def absolute(folder: str | None) -> str | None:
  """Returns a local folder by its whole path, as other programs and runs find it too."""
  if not folder or '://' in folder:
    return folder
  return os.path.abspath(os.path.expanduser(folder))


def unless_auto(choice: str) -> str | None:
  """Reads a flag of which 'auto' leaves the choice open."""
  return None if choice == 'auto' else choice


def settle(names: Collection[str], saved: Mapping, *, source: str,
           may_change: Collection[str] = (),
           resolve: Mapping[str, Callable] | None = None) -> dict:
  """Settles flags: a flag that is set counts, then what is saved, then its default.

  Args:
    names: the flags.
    saved: what a checkpoint's metadata hold of them; may lack some, or have others.
    source: what holds `saved`, for messages.
    may_change: flags that may be set to something else than is saved, which is printed.
    resolve: `{flag: function}` from a flag's value to what it stands for, as it is saved; None
      leaves the choice open, as not to set the flag does.

  Returns:
    `{name: value}` for all names.

  Raises:
    ValueError: if a flag is set that contradicts what is saved, or that is no value of the flag.
  """
  settled, differences = {}, []
  for name in names:
    flag = FLAGS[name]
    if saved.get(name) is not None:
      _check_saved(flag, saved[name], source)
    value = resolve[name](flag.value) if name in (resolve or {}) else flag.value
    is_set = flag.present and value is not None
    settled[name] = value if is_set or name not in saved else saved[name]
    if is_set and name in saved and value != saved[name]:
      if name in may_change:
        print(f'--{name}: {saved[name]} -> {value}')
      else:
        differences.append(f'  --{name}={flag.value}, but it was {saved[name]}')
  if differences:
    raise ValueError('\n'.join([f'These flags contradict {source}:', *differences,
                                'Leave them out, or use another folder or checkpoint.']))
  return settled


def _check_saved(flag: flags.Flag, value: object, source: str) -> None:
  """Stops at a value that the flag cannot have, as metadata that were damaged or edited hold it."""
  try:
    is_good = flag.parser.parse(value) == value
  except (TypeError, ValueError):
    is_good = False
  if not is_good:
    raise ValueError(f'The metadata of {source} are damaged: expected a value that --{flag.name} '
                     f'can have. Received: {value!r:.80}. Restore the .json file beside it.')
