"""The classic experiments: a catalogue of them, and the programs that prepare their data."""
