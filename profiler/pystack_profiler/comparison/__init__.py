"""What differs between recordings of two versions of a program, and how sure that is."""

from .compare import Change, Comparison, compare
from .conditions import Condition, parse_condition
from .series import FunctionKey
from .text import comparison_text

__all__ = [
    "Change",
    "Comparison",
    "Condition",
    "FunctionKey",
    "compare",
    "comparison_text",
    "parse_condition",
]
