"""Training: checkpoints, losses, optimizers, schedules, the trainer and its loop."""
