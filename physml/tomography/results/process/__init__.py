"""Result of process tomography, its files and its picture."""
