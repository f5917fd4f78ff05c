"""Other people's networks, and the fixtures that they leave for the tests."""
