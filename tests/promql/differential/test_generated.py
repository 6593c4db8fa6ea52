"""Generated queries to a real Prometheus 2.42 and to an agent: the same answers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from metricsmith.errors import QueryError
from metricsmith.promql.ast import Aggregation, Call
from metricsmith.promql.functions import AGGREGATIONS, FUNCTIONS
from metricsmith.promql.parser import parse
from metricsmith.promql.printer import format_expr
from metricsmith.promql.walk import preorder
from metricsmith.testing.promql import exclusions
from metricsmith.testing.promql.duel import Duel, Question, difference
from metricsmith.testing.promql.grammar import Grammar
from metricsmith.testing.promql.shrink import as_case, shrunk

LOOKBACKS = ["5m", "47s", "20m"]
MOST_SHOWN = 5
CONSTRUCTS = ["offset -", "@ start()", "@ end()", "[1m:", "group_left", "group_right", "ignoring", "unless"]
SOAK_DATASETS = 8
SOAK_QUERIES = 1000


class Tally:
    """What was asked, and what came of it."""

    def __init__(self) -> None:
        self.asked = self.empty = self.refused = self.different = 0
        self.reports: list[str] = []

    def ask(self, duel: Duel, question: Question) -> None:
        theirs, ours = duel.theirs.ask(question), duel.ours.ask(question)
        self.asked += 1
        self.empty += theirs.empty
        self.refused += theirs.refused
        if found := difference(question, theirs, ours):
            self.different += 1
            if len(self.reports) < MOST_SHOWN:
                self.reports.append(_report(duel, question, found))

    def check(self, seed: int) -> None:
        """Fail where something differs, or where the generator asks for too little."""
        shown = "\n\n".join(self.reports)
        assert not self.reports, f"seed {seed}: {self.different} of {self.asked} differ\n\n{shown}"
        answered = 1 - (self.empty + self.refused) / self.asked
        assert answered > 0.6, f"seed {seed}: only {answered:.0%} of the answers have series"
        assert self.refused / self.asked < 0.2, f"seed {seed}: {self.refused} of {self.asked} are refused"


def _report(duel: Duel, question: Question, found: str) -> str:
    least = shrunk(question, lambda smaller: bool(duel.difference(smaller)))
    case = f"{as_case(least)}  # {duel.difference(least)}"
    return f"{question.query}\n  {found}\nfor the table of permanent cases:\n    {case}"


def _run(duel: Duel, seed: int, count: int) -> None:
    grammar, tally = Grammar(seed), Tally()
    for _ in range(count):
        tally.ask(duel, grammar.question())
    tally.check(seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_generated_queries_are_answered_alike(begin: Callable[..., Duel], seed: int) -> None:
    _run(begin(seed, LOOKBACKS[seed - 1]), seed, 300)


@pytest.mark.soak
@pytest.mark.parametrize("turn", range(SOAK_DATASETS))
def test_many_generated_queries_are_answered_alike(begin: Callable[..., Duel], turn: int) -> None:
    seed = random.SystemRandom().randrange(1000, 1_000_000_000)
    _run(begin(seed, LOOKBACKS[turn % len(LOOKBACKS)]), seed, SOAK_QUERIES)


def test_generator_covers_the_language() -> None:
    """Every function and aggregation is asked for, or stands among the exclusions with a reason."""
    assert exclusions.FUNCTIONS.keys() <= FUNCTIONS.keys()
    grammar, texts, asked = Grammar("coverage"), [], set[str]()
    wanted = (FUNCTIONS.keys() - exclusions.FUNCTIONS) | (AGGREGATIONS.keys() - exclusions.AGGREGATIONS)
    while not asked >= wanted and len(texts) < 20_000:
        texts.append(grammar.question().query)
        asked |= _names(texts[-1])
    assert asked == wanted
    for construct in CONSTRUCTS:
        assert any(construct in text for text in texts), construct


def _names(text: str) -> set[str]:
    try:
        expr = parse(text)
    except QueryError:
        return set()
    nodes = list(preorder(expr))
    return {n.function for n in nodes if isinstance(n, Call)} | {
        n.op for n in nodes if isinstance(n, Aggregation)
    }


def test_a_failing_question_is_made_small() -> None:
    question = Question(
        "sum by (job) (rate(level{job='api'}[5m] offset 1m)) + (wild * 2)", minutes=5, step_s=15
    )
    least = shrunk(question, lambda smaller: "wild" in smaller.query)
    assert format_expr(parse(least.query)) == "wild"
    assert (least.step_s, as_case(least)) == (0, "Question(query='wild'),")
