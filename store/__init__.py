"""The memory: keys, fingerprints, records on disk, sharing."""
