import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_samples import decision, outcome, write_log

from router_data.log import SEGMENTS, SegmentWriter, segment_paths
from router_data.snapshot import write_snapshot
from router_data.store import Store, parquet_types, quoted, write_parquet
from router_model.errors import DatasetError, LogError

WIN = "select decision_id, model from decisions order by decision_id"


def test_an_empty_or_absent_folder_has_empty_views(tmp_path: Path) -> None:
    with Store(tmp_path / "absent") as store:
        for view in ("decisions", "outcomes", "rounds"):
            assert store.query(f"select * from {view}") == []
        assert store.decision("d1") is None
        assert store.query("select * from spending") == []


def test_rows_are_seen_as_soon_as_they_are_written(tmp_path: Path) -> None:
    with Store(tmp_path) as store, SegmentWriter(tmp_path / SEGMENTS, "w0") as writer:
        for n in range(1, 4):
            writer.append([decision(f"d{n}"), outcome(f"d{n}")])
            assert store.query("select count(*) as n from rounds") == [{"n": n}]


def test_a_decision_explains_itself_with_its_outcomes(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(), outcome(attempt=1), outcome(attempt=0, adequate=False)])
    with Store(tmp_path) as store:
        found = store.decision("d1")
        assert store.decision("d1", tenant="other") is None
    assert found is not None
    assert found["excluded"] == {"tiny": "no_tools: 2 tools"}
    assert found["candidates"][0]["p_adequate"] == 0.9
    assert found["versions"] == {"artifact": "a1", "catalog": "c1", "policy": "p1"}
    assert found["fallbacks"] == ["large"]
    assert [row["adequate"] for row in found["outcomes"]] == [False, True]
    assert found["outcomes"][0]["signals"] == {"edits": 2}


def test_of_repeated_decisions_the_later_counts(tmp_path: Path) -> None:
    rows = [decision(model="new", ts_ms=20), decision(model="old", ts_ms=10)]
    write_log(tmp_path, rows)
    with Store(tmp_path) as store:
        assert store.query(WIN) == [{"decision_id": "d1", "model": "new"}]


def test_of_rows_in_one_millisecond_the_one_written_last_counts(tmp_path: Path) -> None:
    rows = [outcome(reward=index / 100) for index in range(50)]
    write_log(tmp_path, [decision(), *rows], segments=3)
    with Store(tmp_path) as store:
        assert store.query("select reward from outcomes") == [{"reward": 0.49}]


def test_a_late_report_adds_to_the_earlier_ones_and_corrects_what_it_repeats(
    tmp_path: Path,
) -> None:
    first = outcome(adequate=True, cost_usd=0.5, signals={"retried": False, "edits": 2}, ts_ms=5)
    late: dict[str, Any] = {"adequate": None, "cost_usd": None, "usage": None, "error": None}
    rows = [
        outcome(**late, signals={"session_succeeded": True}, ts_ms=9),
        outcome(**late, signals={"retried": True}, ts_ms=7),
        first,
    ]
    write_log(tmp_path, [decision(), *rows], segments=2)
    with Store(tmp_path) as store:
        found = store.decision("d1")
    assert found is not None
    (merged,) = found["outcomes"]
    assert (merged["adequate"], merged["cost_usd"], merged["ts_ms"]) == (True, 0.5, 9)
    assert merged["usage"].items() >= first["usage"].items()
    assert merged["signals"] == {"retried": True, "edits": 2, "session_succeeded": True}


def test_a_tenant_can_not_overwrite_the_rows_of_another(tmp_path: Path) -> None:
    write_log(
        tmp_path,
        [
            decision(),
            outcome(),
            decision(tenant="mallory", ts_ms=9_000, model="evil"),
            outcome(tenant="mallory", ts_ms=9_000, adequate=False),
        ],
    )
    with Store(tmp_path) as store:
        mine = store.decision("d1", tenant="acme")
        assert mine is not None
        assert mine["model"] == "small"
        assert [row["adequate"] for row in mine["outcomes"]] == [True]
        with pytest.raises(LogError, match="several tenants"):
            store.decision("d1")


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 5)), max_size=12
    ),
    segments=st.integers(1, 3),
)
def test_each_decision_and_attempt_is_one_row_with_the_latest_values(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, int]],
    segments: int,
) -> None:
    folder = tmp_path_factory.mktemp("log")
    lines = [
        outcome(key, attempt=attempt, ts_ms=ts, latency_ms=float(place))
        for place, (key, attempt, ts) in enumerate(rows)
    ]
    write_log(folder, lines, segments=segments)
    expected: dict[tuple[str, int], tuple[int, int]] = {}
    for place, (key, attempt, ts) in enumerate(rows):
        expected[key, attempt] = max(expected.get((key, attempt), (-1, -1)), (ts, place))
    with Store(folder) as store:
        found = store.query("select decision_id, attempt, latency_ms from outcomes")
    assert {(r["decision_id"], r["attempt"]): r["latency_ms"] for r in found} == {
        key: float(place) for key, (_, place) in expected.items()
    }
    assert len(found) == len(expected)


def test_torn_and_unreadable_lines_do_not_hide_the_others(tmp_path: Path) -> None:
    write_log(tmp_path, [outcome("d1"), outcome("d2"), outcome("d3")])
    (path,) = segment_paths(tmp_path)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\x00\xff garbage {\n" + second[:40] + b"\n" + third + first[:70])
    with Store(tmp_path) as store:
        found = store.query("select decision_id from outcomes order by 1")
    assert [row["decision_id"] for row in found] == ["d1", "d3"]


def test_fields_of_later_versions_are_ignored(tmp_path: Path) -> None:
    write_log(tmp_path, [outcome(invented={"a": [1]}), {"kind": "heartbeat", "ts_ms": 1}])
    with Store(tmp_path) as store:
        assert store.query("select count(*) as n from outcomes") == [{"n": 1}]


def test_a_propensity_belongs_to_the_drawn_model_only(tmp_path: Path) -> None:
    rows = [decision(), outcome(), outcome(attempt=1, model="large")]
    full = decision("d2", feedback="full", model="", propensity=1.0)
    write_log(tmp_path, [*rows, full, outcome("d2", model="large")])
    with Store(tmp_path) as store:
        found = store.query("select propensity from rounds order by decision_id, attempt")
    assert [row["propensity"] for row in found] == [0.5, None, 1.0]


def test_spending_names_who_and_when_for_each_outcome(tmp_path: Path) -> None:
    write_log(
        tmp_path,
        [
            decision("d1"),
            decision("d2", user="bob"),
            decision("d3", tenant="other", user="bob"),
            outcome("d1", ts_ms=1_000),
            outcome("d1", attempt=1, model="large", cost_usd=1.0, ts_ms=90_000_000),
            outcome("d2", cost_usd=None, ts_ms=1_000),
            outcome("d3", cost_usd=0.125, tenant="other", ts_ms=1_000),
        ],
    )
    with Store(tmp_path) as store:
        rows = store.query('select tenant, "user", model, day, cost_usd from spending order by all')
    assert [tuple(row.values()) for row in rows] == [
        ("acme", "ann", "large", "1970-01-02", 1.0),
        ("acme", "ann", "small", "1970-01-01", 0.25),
        ("acme", "bob", "small", "1970-01-01", None),
        ("other", "bob", "small", "1970-01-01", 0.125),
    ]


def test_imported_outcomes_are_nobodys_spending(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(dataset="bench"), outcome()])
    with Store(tmp_path) as store:
        assert store.query("select * from spending") == []


@pytest.mark.parametrize("value", ["' or 1=1 --", 'a"b', "%", "\\", ""])
def test_values_are_bound_and_never_part_of_the_statement(tmp_path: Path, value: str) -> None:
    write_log(tmp_path, [decision("d1"), decision(value, tenant=value)])
    with Store(tmp_path) as store:
        found = store.decision(value)
        assert found is not None
        assert found["tenant"] == value


def test_a_question_that_takes_more_memory_than_it_may_says_what_to_do(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(f"d{number}", user="u" * 10_000) for number in range(4_000)])
    question = 'select list("user") as users from decisions'
    with Store(tmp_path, memory_mb=24) as store:
        with pytest.raises(LogError, match="router-data compact"):
            store.query(question)
        assert store.query("select 1 as one") == [{"one": 1}]


def test_a_folder_with_quotes_in_its_name_works(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "here" [x]*'
    write_log(folder, [decision(), outcome()])
    with Store(folder) as store:
        assert store.export("select * from rounds", (), folder / "r'.csv") == 1
        write_snapshot(folder, folder / "s'.duckdb")
        assert store.query("select count(*) as n from rounds") == [{"n": 1}]


def test_a_snapshot_is_a_complete_duckdb_file(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(), outcome(), outcome(attempt=1)])
    for _ in range(2):
        write_snapshot(tmp_path, tmp_path / "log.duckdb")
    with duckdb.connect(str(tmp_path / "log.duckdb"), read_only=True) as connection:
        answer = connection.execute("select count(*), sum(cost_usd) from rounds").fetchall()
    assert answer == [(2, 0.5)]
    assert list(tmp_path.glob(".*.tmp")) == []


def test_an_export_needs_a_known_ending(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(LogError, match="got ending"):
        store.export("select 1", (), tmp_path / "x.xlsx")


def test_arrays_use_nan_and_none_for_what_is_missing(tmp_path: Path) -> None:
    write_log(tmp_path, [outcome(cost_usd=None), outcome("d2", reward=0.5, error="timeout")])
    with Store(tmp_path) as store:
        found = store.arrays("select cost_usd, error, attempt from outcomes order by decision_id")
        frame = store.frame("select decision_id from outcomes where attempt = ?", (0,))
    assert str(found["cost_usd"].tolist()) == "[nan, 0.25]"
    assert found["error"].tolist() == [None, "timeout"]
    assert found["attempt"].tolist() == [0, 0]
    assert sorted(frame["decision_id"]) == ["d1", "d2"]


def test_extensions_are_neither_installed_nor_loaded(tmp_path: Path) -> None:
    settings_query = "select value from duckdb_settings() where name like 'auto%known_extensions'"
    with Store(tmp_path) as store:
        assert {row["value"] for row in store.query(settings_query)} == {"false"}


def test_a_file_that_is_not_parquet_is_a_dataset_error(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DatasetError, match=r"x\.parquet: can't be read"):
        parquet_types(tmp_path / "x.parquet")


def test_written_tables_keep_their_types(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", [{"id": "007", "n": 1, "x": None}, {"id": "8", "x": 0.5}])
    assert parquet_types(tmp_path / "t.parquet") == {"id": "VARCHAR", "n": "BIGINT", "x": "DOUBLE"}


def test_names_are_quoted() -> None:
    assert quoted('a"; drop table x; --') == '"a""; drop table x; --"'


KEEP_WRITING = """
    import sys
    from pathlib import Path
    from log_samples import decision, outcome
    from router_data.log import SegmentWriter

    writer = SegmentWriter(Path(sys.argv[1]), "w0", max_bytes=50_000)
    for index in range(300):
        writer.append([decision(f"d{index}"), outcome(f"d{index}")])
        sys.stdout.write(f"{index}\\n")
        sys.stdout.flush()
"""


def test_a_reader_sees_all_acknowledged_rows_while_another_process_writes(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KEEP_WRITING), str(tmp_path / SEGMENTS)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        env={"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert child.stdout is not None
    with child.stdout, Store(tmp_path) as store:
        seen = []
        for line in child.stdout:
            if int(line) % 20 == 0:
                (row,) = store.query("select count(*) as n from rounds")
                assert row["n"] >= int(line) + 1
                seen.append(row["n"])
        assert child.wait() == 0
        assert seen == sorted(seen)
        assert store.query("select count(*) as n from rounds") == [{"n": 300}]
