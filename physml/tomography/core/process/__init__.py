"""Processes (quantum channels) of one and two qubits: matrices, distances, inputs."""
