"""The leaderboard: statistics, tables and a report as pure functions of the ledger's rows.

Every number carries its number of seeds and, from two seeds on, a 95 % interval; gains are paired differences on the
same support files, test files and seeds; numbers of different backbones, image sizes, detector options or ways of
choosing a configuration are never ranked together.
"""

from __future__ import annotations

from fewgood.leaderboard.compare import compare, compare_document, pick_runs
from fewgood.leaderboard.compare_text import format_compare
from fewgood.leaderboard.cost import cost, cost_against_gain
from fewgood.leaderboard.coverage import coverage, coverage_summary
from fewgood.leaderboard.formats import FORMATS, format_leaderboard
from fewgood.leaderboard.published import PublishedValue, published
from fewgood.leaderboard.ranks import Board, boards
from fewgood.leaderboard.runs import METRICS, Run, read_runs
from fewgood.leaderboard.tables import EMPTY, LeaderboardRow, leaderboard

__all__ = [
    "EMPTY",
    "FORMATS",
    "METRICS",
    "Board",
    "LeaderboardRow",
    "PublishedValue",
    "Run",
    "boards",
    "compare",
    "compare_document",
    "cost",
    "cost_against_gain",
    "coverage",
    "coverage_summary",
    "format_compare",
    "format_leaderboard",
    "leaderboard",
    "pick_runs",
    "published",
    "read_runs",
]
