"""Training that is killed, or moved to other devices: does it end with the same bits?"""
