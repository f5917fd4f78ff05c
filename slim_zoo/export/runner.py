"""What every export can do: compute the logits of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# The kinds of inputs: prepared images, image files, and pixels of any size.
IMAGES, FILES, PIXELS = 'images', 'files', 'pixels'

# From the kind of an input to a function from a batch of it to logits, float32 [batch, classes].
# A batch is float32 [batch, height, width, channels], an object array of bytes [batch], or uint8
# [batch, any height, any width, channels].
Runner = Mapping[str, Callable[[np.ndarray], np.ndarray]]
