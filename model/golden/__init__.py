"""Check the networks against recorded numbers: `anyseek model check-golden DIR`.

A directory of cases holds the inputs and outputs of the reference, but no weights: both sides fill them by the same
rule (`weights.py`). `cases.py` finds the cases. `runner.py` runs each case with the one checker that accepts it. Each
file of `checkers/` handles one kind of case.
"""
