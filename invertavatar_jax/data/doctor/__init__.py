"""Checks of a data set in the released layout: `examine` names what is wrong and how to mend it."""
