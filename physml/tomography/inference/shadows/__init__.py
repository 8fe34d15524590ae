"""Observables, fidelities and purities of many qubits without a density matrix."""
