"""The particle cell, a learned bank of candidate states."""
