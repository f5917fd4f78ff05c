"""Exports: a trained network as a file that runs without this project, one module a target."""
