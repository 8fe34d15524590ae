"""Region files of X-ray astronomy: DS9's, CIAO's in text, and FITS region tables.

A region file that is read half is worse than none: a source left in looks like a bright rim, one
masked at the wrong place like nothing at all. So each shape is understood or refused by its line.
"""
