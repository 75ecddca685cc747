"""What a recording says, for people and programs: an overview, and questions about one function."""

from .overview import Overview, overview
from .questions import QUESTIONS, Answer, Question, answer
from .text import answer_text, overview_text

__all__ = [
    "QUESTIONS",
    "Answer",
    "Overview",
    "Question",
    "answer",
    "answer_text",
    "overview",
    "overview_text",
]
