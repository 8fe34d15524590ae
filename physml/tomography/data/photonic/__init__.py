"""Coincidence tables of photonic laboratories: rows, accidentals, losses, one likelihood."""

from .read import Coincidences as Coincidences
from .read import read_coincidences as read_coincidences
