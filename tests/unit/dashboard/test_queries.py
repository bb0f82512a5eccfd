"""The dashboard's SQL says what `fewgood.leaderboard` says of the same rows."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewgood.leaderboard import leaderboard, read_runs
from fewgood.leaderboard.compare import compare
from fewgood.leaderboard.contrasts import findings
from fewgood.leaderboard.runs import configurations, group_rankings
from fewgood.store import Home, Ledger
from fewgood_dashboard import measures, queries
from fewgood_dashboard.queries import SORTS, Filter
from fewgood_dashboard.source import Settings, Source
from fewgood_dashboard.views.findings import family


@pytest.fixture(scope="session")
def source_of(write):
    """A source that has read a ledger of these rows."""

    def make(rows, folder):
        source = Source(Settings(home=write(Home(Path(folder) / "home").prepare(), rows)))
        source.refresh()
        return source

    return make


SAME = ("ranking", "dataset", "category", "arm", "configuration")


@st.composite
def ledgers(draw, build):
    found = []
    for number in range(draw(st.integers(1, 18))):
        arm = draw(st.sampled_from(["none", "augment", "generate", "full"]))
        failed = draw(st.booleans()) and draw(st.booleans())
        columns = {
            "run_id": draw(st.sampled_from([f"run-{number}", "run-0"])),
            "status": "failed" if failed else "ok",
            "baseline": draw(st.sampled_from(["patchcore", "cf\0low"])),
            "started_utc": f"2026-01-01T00:00:{number:02d}+00:00",
            "image_auroc": draw(st.sampled_from([0.5, 0.75, float("nan"), None])),
            "proxy_score": draw(st.sampled_from([0.5, 0.6, 0.7, None])),
            "select_on": draw(st.sampled_from(["proxy", "fixed", "test"])),
        }
        if failed and draw(st.booleans()):
            columns |= dict.fromkeys(("backbone", "backbone_digest", "image_size")) | {"error": "out of luck"}
            columns |= {"data_fingerprint": None} if draw(st.booleans()) else {}
        category = draw(st.sampled_from(["bolt", 'it\'s "odd"; <b>']))
        columns["dataset"] = draw(st.sampled_from(["one", "two"]))
        columns.setdefault("data_fingerprint", draw(st.sampled_from(["before", "after"])))
        count = None if arm in ("none", "full") else draw(st.sampled_from([8, 16, 32]))
        found.append(build(arm, draw(st.integers(0, 2)), category=category, count=count, images=3, **columns))
    return found


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_dashboard_says_what_the_library_says(data, build_row, source_of):
    rows = data.draw(ledgers(build_row))
    arms = data.draw(st.sampled_from([[], ["generate"], ["augment", "generate"]]))
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(rows, folder)
        the_tables_hold_what_read_runs_keeps(source, rows)
        the_comparison_is_the_reports(source, rows)
        the_lines_are_the_leaderboards(source, rows, arms)


def the_tables_hold_what_read_runs_keeps(source, rows):
    runs = read_runs(rows)
    found = source.index.query(
        "SELECT run_id, ranking, dataset, category, arm, config_hash, seed, ok FROM runs"
    ).to_pylist()
    expected = {(r.run_id, r.ranking.digest, r.dataset, r.category, r.arm, r.config_hash, r.seed, r.ok) for r in runs}
    assert {tuple(row.values()) for row in found} == expected
    assert len(found) == len(runs)
    grouped = group_rankings(runs)
    assert {line.digest: (line.key, line.cells) for line in queries.rankings(source.index)} == {
        key.digest: (key, len(cells)) for key, cells in grouped.items()
    }
    totals = queries.totals(source.index)
    assert (totals["finished"], totals["failed"]) == (sum(r.ok for r in runs), sum(not r.ok for r in runs))
    names = ("ranking", "dataset", "category", "data_fingerprint", "arm", "config_hash")
    lines = {
        tuple(row[name] for name in names): row
        for row in source.index.query("SELECT * FROM configurations").to_pylist()
    }
    for key, cells in grouped.items():
        for cell, members in cells.items():
            for item in configurations(members):
                place = (cell.dataset, cell.category, cell.fingerprint)
                row = lines.pop((key.digest, *place, item.arm, item.config_hash))
                assert (row["seeds"], row["failed"], row["count"]) == (len(item.runs), len(item.failed), item.count)
                assert row["image_auroc"] == (
                    None if item.mean("image_auroc") is None else pytest.approx(item.mean("image_auroc"))
                )
                assert row["proxy_score"] == (None if item.proxy is None else pytest.approx(item.proxy))
    assert lines == {}


def the_comparison_is_the_reports(source, rows):
    for expected in compare(read_runs(rows)):
        found = measures.comparison(source, expected.key.digest)
        assert found.key == expected.key
        assert [cell.key for cell in found.cells] == [cell.key for cell in expected.cells]
        for mine, theirs in zip(found.cells, expected.cells, strict=True):
            assert {arm: item.config_hash for arm, item in mine.arms.items()} == {
                arm: item.config_hash for arm, item in theirs.arms.items()
            }
        for pair, values in expected.differences.items():
            assert found.differences[pair]["image_auroc"].to_json() == values["image_auroc"].to_json()
        quick = measures.answer(source, expected.key.digest)
        for control in ("none", "augment"):
            if any(("generate", control) in cell.differences for cell in expected.cells):
                gap = expected.differences["generate", control]["image_auroc"]
                assert quick.differences["generate", control]["image_auroc"].to_json() == gap.to_json()


def the_lines_are_the_leaderboards(source, rows, arms):
    expected = [line.to_dict() for line in leaderboard(rows) if not arms or line.arm in arms]
    found = []
    for ranking in queries.rankings(source.index):
        chosen = Filter(ranking=ranking.digest, equal={"arm": arms} if arms else {})
        for number in range(1, 20):
            page = queries.configuration_page(
                source.index, chosen, sort="seeds", descending=True, number=number, size=2
            )
            if number > page.pages or not page.total:
                break
            found += [line.to_dict() for line in measures.lines(source, page.rows, ranking.digest)]
    assert len(found) == len(expected)
    for line in expected:
        same = [item for item in found if all(item[name] == line[name] for name in SAME)]
        assert line in found, [name for item in same for name in line if item[name] != line[name]]


def test_the_findings_are_the_reports(build_row, source_of, tmp_path):
    rows = []
    for category in ("bolt", "nut"):
        for seed in range(3):
            rows += [
                build_row("none", seed, category=category),
                build_row("augment", seed, category=category, count=16),
            ]
            for place, variance in enumerate((True, False, True)):
                spec = {"generator": {"variance": variance, "steps": 100 + place // 2}, "sampling": {"mode": "decode"}}
                spec |= {"baseline": {"name": "patchcore", "options": {"coreset": 0.1}}}
                for arm in ("generate", "generate-random"):
                    name = f"{arm}-{category}-{place}"
                    rows.append(
                        build_row(
                            *(arm, seed),
                            category=category,
                            lift=0.3 + 0.2 * variance + 0.1 * (place == 2),
                            count=16,
                            config_hash=name,
                            run_id=f"{name}-{seed}",
                            spec_json=json.dumps(spec),
                        )
                    )
    source = source_of(rows, tmp_path)
    (line,) = queries.rankings(source.index)
    found, expected = findings(family(source, line)), findings(read_runs(rows))
    assert [(item.key, item.sentence, item.limits) for item in found] == [
        (item.key, item.sentence, item.limits) for item in expected
    ]
    variance = next(item for item in found if item.key == "variance")
    assert variance.chart is not None, (
        "the pair that differs in the variance alone is not the one that stands for the arm"
    )


def test_a_page_is_cut_and_sorted_in_the_query(make_cell, source_of, tmp_path):
    source = source_of([row for name in ("bolt", "nut", "washer") for row in make_cell(name)], tmp_path)
    (line,) = queries.rankings(source.index)
    seen = []
    for number in (1, 2, 3):
        page = queries.configuration_page(
            source.index, Filter(ranking=line.digest), sort="image AUROC", descending=True, number=number, size=4
        )
        assert (page.total, page.pages) == (9, 3)
        seen += measures.lines(source, page.rows, line.digest)
    assert len(seen) == 9
    assert [item.image_auroc for item in seen] == sorted((item.image_auroc for item in seen), reverse=True)


@pytest.mark.parametrize("sort", SORTS)
def test_every_sort_and_filter_works(make_cell, source_of, tmp_path, sort):
    source = source_of([row for name in ("bolt", "nut") for row in make_cell(name)], tmp_path)
    (line,) = queries.rankings(source.index)
    chosen = Filter(ranking=line.digest, equal={"category": ["nut"], "arm": ["none", "generate"]})
    page = queries.configuration_page(source.index, chosen, sort=sort, descending=False, number=99, size=25)
    assert {(row["category"], row["arm"]) for row in page.rows} == {("nut", "none"), ("nut", "generate")}


def test_a_filter_takes_values_not_sql(make_cell, source_of, tmp_path):
    source = source_of(make_cell("x' OR 1=1 --"), tmp_path)
    assert queries.distinct(source.index, "category", Filter()) == ["x' OR 1=1 --"]
    page = queries.run_page(
        source.index, Filter(equal={"category": ["' OR 1=1 --"]}), failed_only=False, number=1, size=5
    )
    assert page.total == 0
    with pytest.raises(ValueError, match="no filter on"):
        queries.distinct(source.index, "1; DROP TABLE runs", Filter())


def test_new_runs_and_compaction_are_seen(make_row, source_of, tmp_path, monkeypatch):
    monkeypatch.setattr("fewgood_dashboard.source._REFRESH_SECONDS", 0.0)
    source = source_of([make_row("none", 0)], tmp_path)
    ledger = Ledger(source.home)
    version = source.version
    ledger.append({k: v for k, v in make_row("none", 1).items() if k != "schema_version"})
    source.refresh()
    assert source.version > version
    assert queries.totals(source.index)["finished"] == 2
    entries = [row["entry"] for row in source.index.query("SELECT entry FROM entries").to_pylist()]
    ledger.compact()
    assert len(source.whole(entries)) == 2, "the index finds moved rows by itself, before anybody refreshes"
    source.refresh()
    assert queries.totals(source.index)["finished"] == 2
    (line,) = queries.rankings(source.index)
    assert len(measures.picked_runs(source, Filter(ranking=line.digest))) == 2


def test_an_unreachable_ledger_is_said_and_what_was_read_stays(make_row, source_of, tmp_path, monkeypatch):
    monkeypatch.setattr("fewgood_dashboard.source._REFRESH_SECONDS", 0.0)
    source = source_of([make_row("none", 0)], tmp_path)

    def refuse():
        from fewgood.errors import StoreError

        raise StoreError("the store is away: check the network")

    monkeypatch.setattr(source.index, "refresh", refuse)
    source.refresh()
    assert "away" in source.error
    assert queries.totals(source.index)["finished"] == 1
