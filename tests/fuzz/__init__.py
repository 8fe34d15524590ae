"""Fuzzing of the readers: hostile files, and what must never follow from them.

``tests/security/test_fuzz.py`` tries a few; ``make fuzz`` tries for as long as one wants.
"""
