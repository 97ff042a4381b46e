"""Operators in C, written for microcontrollers: which operator has one, and its constants as the C reads them. Pure."""
