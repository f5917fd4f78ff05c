"""The record that holds everything that is known about a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from nets import end_points
from nets.variants import NetFunction


@dataclasses.dataclass(frozen=True)
class Published:
  """Published ImageNet weights of a network.

  Attributes:
    name: of the checkpoint or file.
    classes: number of classes: 1,000, or 1,001 if the first is the background.
    top_1, top_5: published accuracy on ImageNet's validation images, in percent; None if none was
      published. Sources: the README of tensorflow/models' research/slim, for MobileNets
      those of its nets/mobilenet and nets/mobilenet_v1.md; the READMEs of Caffe's bvlc_alexnet and
      of EfficientNet-Lite; the tables of keras.applications and torchvision.
    image_size: height and width at which it was measured; None means the network's own.
    preprocessing: recipe with which it was measured; None means the network's own.
  """
  name: str
  classes: int
  top_1: float | None = None
  top_5: float | None = None
  image_size: int | None = None
  preprocessing: str | None = None


@dataclasses.dataclass(frozen=True)
class Net:
  """The facts about a network.

  Attributes:
    function: `function(images, num_classes, *, is_training, scope) -> (logits, end_points)`:
      logits [batch, num_classes], or features [batch, width] if num_classes is 0 or None.
    arg_scope: `arg_scope(weight_decay=…)`, the arg scope that the function runs under.
    preprocessing: name of its preprocessing recipe.
    head: scopes that depend on the number of classes, to exclude and retrain when fine-tuning: the
      classifier's, then those of auxiliary heads; may contain shell wildcards.
    published: weights for this network's variables; None if there are none.
    output_node: name that TF-Slim's frozen graphs have for the probabilities, or, if it ends with
      'squeezed', for the logits; '' if TF-Slim does not have the network.
    codes: the end point that is commonly used as the network's features.
    classes, channels: of the data that the network was designed for.
    xla: whether XLA was measured to make it faster. On CPUs it made every network that was tried
      slower (`results/`), most of all those with depthwise convolutions.
    reference: URL of the paper or the first implementation.
  """
  function: NetFunction
  arg_scope: Callable
  _: dataclasses.KW_ONLY
  preprocessing: str
  head: tuple[str, ...]
  published: Published | None = None
  output_node: str = ''
  codes: str = end_points.FEATURES
  classes: int = 1000
  channels: int = 3
  xla: bool = False
  reference: str = ''

  @property
  def image_size(self) -> int:
    """Height and width of the images that the network was designed for, in pixels."""
    return self.function.default_image_size
