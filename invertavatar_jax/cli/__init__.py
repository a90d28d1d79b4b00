"""The command line: `./avatar VERB ...`, one module per verb."""
