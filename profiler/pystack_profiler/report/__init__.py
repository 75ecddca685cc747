"""What a recording says, for people and programs: an overview, and questions about one function."""

from .gil import GilAnswer, gil_answer
from .overview import Overview, overview
from .questions import QUESTIONS, Answer, Question, answer
from .text import answer_text, gil_text, overview_text
from .waits import WaitReport, wait_report, wait_text_lines

__all__ = [
    "QUESTIONS",
    "Answer",
    "GilAnswer",
    "Overview",
    "Question",
    "WaitReport",
    "answer",
    "answer_text",
    "gil_answer",
    "gil_text",
    "overview",
    "overview_text",
    "wait_report",
    "wait_text_lines",
]
