"""The text-guided knowledge integrator (method.md, section 3; paper: arXiv 2403.06247, section 3.3)."""

from __future__ import annotations

from fewgood.selection.coverage import select_covering
from fewgood.selection.scoring import score_candidates, select_random, select_top, should_stop_rounds

__all__ = ["score_candidates", "select_covering", "select_random", "select_top", "should_stop_rounds"]
