"""What a run is made of: options in frozen dataclasses, their flags, and how they are settled.

Nothing here imports TensorFlow, so that help is shown, and a misspelled flag refused, at once.
"""
