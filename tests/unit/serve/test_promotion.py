"""Which generator of a study is promoted: the leaderboard's configuration, of equals the cheaper, and the seed by the proxy."""

import pytest

from fewgood.errors import SpecError
from fewgood.leaderboard.runs import Run
from fewgood.store import Home
from fewgood_serve import promotion


def run(
    arm="generate", config="a", seed=0, *, proxy=None, auroc=0.5, seconds=10.0, reused=0.0, select_on="proxy", **more
):
    return Run(
        run_id=f"{arm}-{config}-{seed}",
        arm=arm,
        config_hash=config,
        spec_hash=f"{config * 8}{seed}",
        seed=seed,
        proxy_score=proxy,
        metrics={"image_auroc": auroc},
        seconds=seconds,
        reused_seconds=reused,
        select_on=select_on,
        dataset="sample",
        category="brick",
        baseline="patchcore",
        shots="1",
        **more,
    )


def test_the_highest_proxy_score_wins_whatever_the_test_says():
    runs = [run(config="a", proxy=0.6, auroc=0.9), run(config="b", proxy=0.7, auroc=0.5), run("none", "n", auroc=0.4)]
    chosen = promotion._best(runs, "study")
    assert (chosen.run.config_hash, chosen.cell) == ("b", "sample/brick/patchcore/1")
    assert set(chosen.partners) == {"none"}


def test_of_equals_the_cheaper_one_wins_counting_what_was_reused():
    runs = [run(config="a", proxy=0.7, seconds=5.0, reused=100.0), run(config="b", proxy=0.7, seconds=60.0)]
    assert promotion._best(runs, "study").run.config_hash == "b"


def test_the_seed_is_the_one_that_the_proxy_likes_best():
    runs = [run(seed=0, proxy=0.6), run(seed=1, proxy=0.8), run(seed=2, proxy=0.7)]
    assert promotion._best(runs, "study").run.seed == 1
    assert promotion._best([run(seed=seed) for seed in (2, 1)], "study").run.seed == 1


def test_a_study_selected_on_test_scores_says_so_in_its_limits():
    chosen = promotion._best([run(select_on="test", auroc=0.9), run(config="b", select_on="test", auroc=0.5)], "study")
    assert chosen.run.config_hash == "a"
    assert any("best on the test images" in remark for remark in chosen.remarks)


def test_no_generated_run_is_nothing_to_promote():
    assert promotion._best([run("none"), run("augment")], "study") is None


def test_unknown_studies_and_hashes_are_refused(tmp_path):
    home = Home(tmp_path / "home").prepare()
    with pytest.raises(SpecError, match="known are none"):
        promotion.best_of_study(home, "nothing")
    for text in ("abc", "0" * 32):
        with pytest.raises(SpecError, match="0 finished runs"):
            promotion.of_spec(home, text)


@pytest.mark.parametrize(
    "words",
    [(), ("--study", "a", "--spec-hash", "b"), ("--spec-hash", "0" * 32, "--cell", "x"), ("--study", "../x")],
)
def test_the_command_refuses_what_cannot_be_meant(fewgood, tmp_path, words):
    done = fewgood("promote", *words, "--home", tmp_path / "home")
    assert done.status == 2
    assert done.err.startswith("fewgood: ")
    assert done.err.count("\n") == 1


def test_registry_commands_on_an_empty_home(fewgood, tmp_path):
    home = tmp_path / "home"
    assert "has no generator yet" in fewgood("generators", "list", "--home", home).out
    assert fewgood("generators", "list", "--home", home, "--json").document["generators"] == []
    for words in (("show", "part"), ("rollback", "part"), ("show", "../x")):
        assert fewgood("generators", *words, "--home", home).status == 2


def test_keys_by_command(fewgood, tmp_path):
    home = tmp_path / "home"
    key = fewgood("keys", "add", "team a", "--generators", "brick,washer", "--days", "3", "--home", home).out.strip()
    assert key.startswith("fg_")
    listed = fewgood("keys", "list", "--home", home, "--json").document["keys"]
    assert [(one["owner"], one["generators"]) for one in listed] == [("team a", ["brick", "washer"])]
    assert key not in fewgood("keys", "list", "--home", home).out
    assert fewgood("keys", "revoke", listed[0]["id"], "--home", home).status == 0
    assert fewgood("keys", "list", "--home", home, "--json").document["keys"] == []
    assert fewgood("keys", "revoke", "00000000", "--home", home).status == 2
    assert fewgood("keys", "add", "a", "--generators", "../x", "--home", home).status == 2
