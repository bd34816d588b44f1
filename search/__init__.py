"""The finder: spaces, strategies, cost models, measuring."""
