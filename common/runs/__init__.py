"""Runs: which make up the report, several at once, and what a finished one left.   python3 -m common.runs"""
