"""Stage `rounds`: with R > 1, generate and feed back until a round no longer helps the few-shot proxy (method.md, 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fewgood.selection import should_stop_rounds
from fewgood.specs import GENERATING_ARMS
from fewgood.stages.context import Context, Node
from fewgood.stages.detector import proxy_node, read_proxy
from fewgood.stages.embeddings import embeddings_node
from fewgood.stages.feedback import feedback_node
from fewgood.stages.generator import generator_node
from fewgood.stages.pool import pool_nodes
from fewgood.stages.prompts import prompts_node
from fewgood.stages.scores import scores_node
from fewgood.stages.training_set import PoolNodes, training_set_node
from fewgood.store import Artifact, ArtifactKey

__all__ = ["STAGE", "VERSION", "final_training_set", "round_pools"]

STAGE = "rounds"
VERSION = 1


def final_training_set(context: Context) -> Node:
    """The training set that the run's detector is fitted on: with several rounds, that of the best round."""
    spec = context.spec
    if spec.arm not in GENERATING_ARMS:
        return training_set_node(context, None)
    rounds = [training_set_node(context, pools) for pools in round_pools(context)]
    if len(rounds) == 1:
        return rounds[0]
    chosen = context.ensure(_choice_node(context, rounds)).read_json("rounds.json")["chosen"]
    return rounds[int(chosen)]


def round_pools(context: Context) -> list[PoolNodes]:
    """Each round's candidates. The generator of a later round also trains on what the round before kept."""
    spec = context.spec
    count = spec.selection.count * spec.sampling.oversample
    scored = spec.arm == "generate" or spec.selection.rounds > 1
    prompts = prompts_node(context) if scored else None
    rounds: list[PoolNodes] = []
    feedback: Node | None = None
    for _ in range(spec.selection.rounds):
        pools = pool_nodes(context, generator_node(context, feedback), count)
        scores = [scores_node(context, prompts, embeddings_node(context, pool)) for pool in pools] if prompts else []
        rounds.append(PoolNodes(pools, scores if spec.arm == "generate" else (), prompts))
        if prompts:
            feedback = feedback_node(context, pools, scores)
    return rounds


def _choice_node(context: Context, rounds: list[Node]) -> Node:
    """Which round to keep: rounds are made one by one until the proxy score stops rising."""

    def create(folder: Path, _: Mapping[str, Artifact]) -> None:
        proxies: list[float] = []
        for number, training in enumerate(rounds):
            proxies.append(read_proxy(context.ensure(proxy_node(context, training))))
            context.progress(STAGE, number + 1, len(rounds), f"proxy {proxies[-1]:.3f}")
            if should_stop_rounds(proxies):
                break
        chosen = max(range(len(proxies)), key=lambda number: (proxies[number], -number))
        (folder / "rounds.json").write_text(json.dumps({"proxy": proxies, "chosen": chosen}))

    key = ArtifactKey(STAGE, VERSION, {"candidates": [proxy_node(context, training).digest for training in rounds]})
    return Node(key, create)
