"""Checking the networks against recorded numbers: `anyseek model check-golden DIR`.

A directory of cases holds inputs and outputs of the reference, but no weights: both sides fill them by the same rule
(`weights.py`). `cases.py` finds the cases, `runner.py` runs each by the one checker that accepts it, and each file of
`checkers/` is one kind of case.
"""
