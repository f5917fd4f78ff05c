"""Image classification datasets in all storage formats, and their input pipeline."""
