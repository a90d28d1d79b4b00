"""One file per training stage; base.py has what they share."""
