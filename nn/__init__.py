"""The work: operators, layers, networks and the registry of tasks."""
