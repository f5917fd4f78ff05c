"""Reference implementations of networks, and the test fixtures computed with them."""
