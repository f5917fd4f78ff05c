"""A catalogue of classic transfer learning experiments, and programs that prepare their data."""
