"""The options of training."""

from __future__ import annotations

import dataclasses

from slim_zoo.config.option import Path, Rule, option

OPTIMIZERS = ('adadelta', 'adagrad', 'adam', 'adamw', 'ftrl', 'lamb', 'momentum', 'rmsprop', 'sgd')
DECAYS = ('cosine', 'exponential', 'fixed', 'multi_step', 'one_cycle', 'plateau', 'polynomial')
METRICS = ('f1', 'loss', 'mean_average_precision', 'mean_recall', 'top_1', 'top_5')
# Those of images with one label, and of images with several; the first is the default.
ONE_LABEL_METRICS = ('top_1', 'top_5', 'mean_recall', 'loss')
MULTI_LABEL_METRICS = ('mean_average_precision', 'f1', 'loss')
SCALINGS = ('linear', 'none', 'sqrt')
CACHE_MODES = ('auto', 'off', 'memory', 'disk')
LOSSES = ('binary', 'focal', 'softmax')
RECIPES = ('finetune',)
CLASSIFIERS = ('softmax', 'linear_svm', 'logistic_regression')

FIXED, FREE = Rule.FIXED, Rule.FREE


@dataclasses.dataclass(frozen=True)
class FineTuning:
  """Fine-tuning."""
  trainable_scopes: str | None = option(
      None, 'Scopes to train, separated by commas; default: all.', rule=FIXED, common=True)
  learning_rate_multipliers: str | None = option(
      None, 'Factors of the learning rate by scope, such as conv:0,fc6:0.1,fc8:1. The last '
      'one that matches counts; 0 freezes.', rule=FIXED)
  layer_decay: float | None = option(
      None, 'Factor of the learning rate from each layer to the one below it, in (0, 1].',
      rule=FIXED, lower=0, upper=1)
  dropout_rate: float | None = option(
      None, "Rate of the dropout layers; by default the network's.", rule=FIXED, lower=0,
      upper=0.999)
  drop_path_rate: float | None = option(
      None, 'Share of the images for which a residual block at the end is dropped; the others in '
      "proportion to their depth (stochastic depth). By default the network's.", rule=FIXED,
      lower=0, upper=0.999)
  cache_features: str = option(
      'auto', 'Where to keep the results of the layers that are not trained, so that they are '
      'computed only once. auto prints what it chose and why.', rule=FREE, choices=CACHE_MODES,
      open_value='auto')


@dataclasses.dataclass(frozen=True)
class Loss:
  """Loss."""
  weight_decay: float = option(
      0.00004, 'Factor of the L2 regularization; with adamw and lamb, which decay weights apart '
      'from the loss, of that decay.', rule=FIXED, lower=0)
  loss: str = option('softmax', 'Loss of each example: cross-entropy of softmax; binary, '
                     "cross-entropy of each class's sigmoid; or focal.", rule=FIXED, choices=LOSSES)
  focal_gamma: float = option(
      2.0, 'Exponent of the focal loss.', rule=FIXED, lower=0, needs=('loss', ('focal',)))
  bce_target_threshold: float | None = option(
      None, 'Targets of the binary loss above this become 1, others 0, such as 0.2 with mixed '
      'images.', rule=FIXED, lower=0, upper=1, needs=('loss', ('binary',)))
  label_smoothing: float = option(0.0, 'Share of each target that is spread over all classes.',
                                  rule=FIXED, lower=0, upper=0.999)
  class_weights: str = option('none', 'Weights of the classes in the loss: none, or balanced so '
                              'that all classes count alike.', rule=FIXED,
                              choices=['none', 'balanced'])


@dataclasses.dataclass(frozen=True)
class Distillation:
  """Distillation."""
  teacher_path: str | None = option(
      None, 'Trained network, as for --checkpoint_path, whose predictions are learned as well '
      '(distillation). It must have the classes of the data.', rule=FREE, path=Path.READ)
  distillation_weight: float = option(
      0.5, "Share of the teacher's predictions in the loss.", rule=FIXED, lower=0, upper=1,
      needs=('teacher_path', ()))
  distillation_temperature: float = option(
      2.0, 'Divides the logits of the network and its teacher.', rule=FIXED, lower=0.01,
      needs=('teacher_path', ()))


@dataclasses.dataclass(frozen=True)
class Mixing:
  """Mixed images."""
  mixup_alpha: float = option(
      0.0, 'Mix pairs of images and their labels; the shares are from Beta(alpha, alpha).',
      rule=FIXED, lower=0)
  cutmix_alpha: float = option(
      0.0, 'Replace a rectangle of each image by one of another; the areas are from Beta(alpha, '
      'alpha). With --mixup_alpha, each batch has one of both.', rule=FIXED, lower=0)


@dataclasses.dataclass(frozen=True)
class Optimization:
  """Optimization."""
  batch_size: int = option(32, 'Batch size per replica.', rule=FIXED, lower=1, common=True)
  optimizer: str = option('rmsprop', 'Optimizer, such as adam or momentum.', rule=FIXED,
                          choices=OPTIMIZERS, common=True)
  learning_rate: float = option(0.01, 'Initial learning rate.', rule=FREE, lower=0, common=True)
  learning_rate_decay_type: str = option('exponential', 'How the learning rate decays. cosine '
                                         'reaches 0 at the end of the run.', rule=FREE,
                                         choices=DECAYS)
  learning_rate_decay_factor: float = option(
      0.94, 'Factor of the decays of exponential, multi_step and plateau.', rule=FREE,
      needs=('learning_rate_decay_type', ('exponential', 'multi_step', 'plateau')), of_tf_slim=True)
  plateau_patience: int = option(
      3, 'Validations without a better --best_metric after which plateau lowers the learning rate.',
      rule=FREE, lower=1, needs=('learning_rate_decay_type', ('plateau',)))
  learning_rate_milestones: str | None = option(
      None, 'Epochs of the decays of multi_step, such as 30,60,80.', rule=FREE,
      needs=('learning_rate_decay_type', ('multi_step',)))
  learning_rate_cycles: int = option(
      1, 'Number of times that cosine falls to 0, after which it starts again.', rule=FREE, lower=1,
      needs=('learning_rate_decay_type', ('cosine',)))
  num_epochs_per_decay: float = option(
      2.0, 'Epochs after which the learning rate decays, counted with the batch size of one '
      'replica, as in TF-Slim.', rule=FREE,
      needs=('learning_rate_decay_type', ('exponential', 'polynomial')), of_tf_slim=True)
  end_learning_rate: float = option(0.0001, 'Final learning rate of the polynomial decay.',
                                    rule=FREE,
      needs=('learning_rate_decay_type', ('polynomial',)), of_tf_slim=True)
  warmup_epochs: float = option(
      0.0, 'Epochs in which the learning rate rises linearly.', rule=FREE)
  scale_learning_rate: str = option(
      'none', 'Multiply the learning rate by the number of replicas (linear), or by its square '
      'root (sqrt).', rule=FREE, choices=SCALINGS)
  gradient_clip_norm: float | None = option(
      None, 'Largest norm of the gradient of all variables; longer ones are scaled down to it.',
      rule=FREE, lower=0)
  adaptive_clip_factor: float | None = option(
      None, "Largest norm of the gradient of a unit's weights divided by that of the weights, such "
      'as 0.01.', rule=FREE, lower=0)
  seed: int = option(0, 'Seed of initial values, order and augmentation.', rule=FIXED)


@dataclasses.dataclass(frozen=True)
class NetworkOptimization(Optimization):
  """Optimization."""
  gradient_accumulation_steps: int = option(
      1, 'Number of batches whose gradients are added up for each step, as if --batch_size were so '
      'many times as large.', rule=FIXED, lower=1)
  moving_average_decay: float | None = option(
      None, 'Decay of the moving averages of the variables; by default there are none.', rule=FIXED,
      lower=0, upper=1)
  moving_average_interval: int = option(
      1, 'Steps between updates of the moving averages.', rule=FIXED, lower=1,
      needs=('moving_average_decay', ()))
  batch_norm_decay: float | None = option(
      None, "Decay of batch norm's moving averages; by default the network's, such as 0.9997. "
      'Short runs need a smaller one, such as 0.99.', rule=FIXED, lower=0, upper=1)
  sync_batch_norm: bool = option(
      False, 'Normalize with the batches of all replicas in training, instead of that of each.',
      rule=FIXED)


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
  """Settings of single optimizers."""
  adadelta_rho: float = option(0.95, 'Decay rate of Adadelta.', rule=FIXED,
      needs=('optimizer', ('adadelta',)), of_tf_slim=True)
  adagrad_initial_accumulator_value: float = option(0.1, "Start of Adagrad's accumulators.",
                                                    rule=FIXED,
      needs=('optimizer', ('adagrad',)), of_tf_slim=True)
  adam_beta1: float = option(0.9, 'Decay of the first moments of Adam, AdamW and LAMB.',
                             rule=FIXED,
      needs=('optimizer', ('adam', 'adamw', 'lamb')), of_tf_slim=True)
  adam_beta2: float = option(0.999, 'Decay of the second moments of Adam, AdamW and LAMB.',
                             rule=FIXED,
      needs=('optimizer', ('adam', 'adamw', 'lamb')), of_tf_slim=True)
  opt_epsilon: float | None = option(
      None, "Epsilon of Adadelta, Adam, AdamW, LAMB and RMSProp; by default TF-Slim's 1.0, and "
      '1e-8 for AdamW and LAMB.', rule=FIXED, lower=0,
      needs=('optimizer', ('adadelta', 'adam', 'adamw', 'lamb', 'rmsprop')), of_tf_slim=True)
  decay_vectors: bool = option(
      False, 'Apply the weight decay of AdamW and LAMB to vectors as well, which are biases and '
      'normalizations.', rule=FIXED, needs=('optimizer', ('adamw', 'lamb')))
  ftrl_learning_rate_power: float = option(-0.5, 'Power of the learning rate in FTRL.', rule=FIXED,
      needs=('optimizer', ('ftrl',)), of_tf_slim=True)
  ftrl_initial_accumulator_value: float = option(0.1, "Start of FTRL's accumulators.", rule=FIXED,
      needs=('optimizer', ('ftrl',)), of_tf_slim=True)
  ftrl_l1: float = option(0.0, 'Strength of the L1 regularization in FTRL.', rule=FIXED,
      needs=('optimizer', ('ftrl',)), of_tf_slim=True)
  ftrl_l2: float = option(0.0, 'Strength of the L2 regularization in FTRL.', rule=FIXED,
      needs=('optimizer', ('ftrl',)), of_tf_slim=True)
  momentum: float = option(0.9, 'Momentum of the momentum optimizer.', rule=FIXED,
      needs=('optimizer', ('momentum',)), of_tf_slim=True)
  nesterov: bool = option(
      False, 'Use Nesterov momentum in the momentum optimizer.', rule=FIXED,
      needs=('optimizer', ('momentum',)))
  rmsprop_momentum: float = option(0.9, 'Momentum of RMSProp.', rule=FIXED,
      needs=('optimizer', ('rmsprop',)), of_tf_slim=True)
  rmsprop_decay: float = option(0.9, "Decay of RMSProp's mean squares.", rule=FIXED,
      needs=('optimizer', ('rmsprop',)), of_tf_slim=True)


@dataclasses.dataclass(frozen=True)
class Duration:
  """Length and validation."""
  epochs: float | None = option(None, 'Number of epochs to train.', rule=FREE, lower=0,
                                common=True)
  max_number_of_steps: int | None = option(None, 'Number of steps to train, instead of --epochs.',
                                           rule=FREE, instead_of='epochs', common=True)
  validation_interval_epochs: float | None = option(
      1.0, 'Epochs between validations; 0 for none.', rule=FREE)
  validation_interval_steps: int | None = option(
      None, 'Steps between validations, instead of --validation_interval_epochs.', rule=FREE,
      lower=1, instead_of='validation_interval_epochs')
  best_metric: str = option('top_1', 'Metric by which the best checkpoint is chosen; with '
                            '--multi_label mean_average_precision by default.', rule=FIXED,
                            choices=METRICS)
  early_stopping_patience: int | None = option(
      None, 'Stop after this many validations without a better --best_metric.', rule=FREE, lower=1)


@dataclasses.dataclass(frozen=True)
class Saving:
  """Saving."""
  train_dir: str | None = option(None, 'Directory for checkpoints and logs; the same one resumes '
                                 'the run.', path=Path.WRITTEN, common=True)
  log_every_n_steps: int | None = option(10, 'Steps between log lines; by default one per epoch.',
                                         rule=FREE, lower=1)
  save_interval_secs: int = option(600, 'Longest time between checkpoints, in seconds.', rule=FREE)
  save_interval_steps: int | None = option(None, 'Steps between checkpoints.', rule=FREE, lower=1)
  save_summaries_secs: int = option(600, 'Time between histograms and between pictures in '
                                    'TensorBoard, in seconds.', rule=FREE)
  max_to_keep: int = option(5, 'Number of checkpoints to keep, besides the best.', rule=FREE,
                            lower=1)


@dataclasses.dataclass(frozen=True)
class Session:
  """Runs."""
  phases: str | None = option(
      None, 'Runs to make one after the other. An example: "trainable_scopes=head epochs=2; '
      'learning_rate=0.0001 epochs=3". Each is given by its own flags without dashes, and starts '
      'from the one before. They are saved to phase_1, phase_2 … in --train_dir.', common=True)
  recipe: str | None = option(
      None, 'A run with flags chosen from the data. finetune trains a new head on the network of '
      '--checkpoint_path, then all layers, and prints what it chose.',
      choices=RECIPES, common=True)
  recipe_minutes: float | None = option(
      None, 'Time in which the recipe has to finish on this machine. A few steps are measured '
      'before its epochs are chosen.', lower=0.1, needs=('recipe', ()))
  dry_run: bool = option(
      False, 'Check everything, and stop before training. Data, shapes and weights are '
      'checked, time and memory are estimated, and nothing is written.', common=True)
