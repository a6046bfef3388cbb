from __future__ import annotations

import os
from pathlib import Path

import pytest

from debros.blocks import car, cid
from debros.blocks.car import Damage
from debros.blocks.files import DiskFiles, Files, MemoryFiles
from debros.blocks.logfile import LogFile, Progress
from debros.errors import ClosedError, CorruptionError, StorageError, TooLargeError
from tests.support.logs import DIRECTORY, block_of, blocks_of, contents, open_log
from tests.support.segments import section, start

ONE, TWO = f"{DIRECTORY}/000001.car", f"{DIRECTORY}/000002.car"


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


@pytest.fixture(params=["disk", "memory"])
def any_files(request: pytest.FixtureRequest) -> Files:
    return DiskFiles() if request.param == "disk" else MemoryFiles()


def test_what_is_appended_is_read_at_its_position_and_scanned_in_order(any_files: Files, tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    log = LogFile.open(any_files, directory, random_bytes=os.urandom, max_segment=600)
    written = [bytes([n]) * (n * 7 % 150) for n in range(60)]
    positions: list[int] = []
    for n in range(0, 60, 3):
        positions += log.append(blocks_of(*written[n : n + 3]), durable=n % 2 == 0)
    log.sync()
    for _ in range(2):
        assert [log.read(position) for position in positions] == written
        assert [(found.position, found.block) for found in log.scan()] == list(zip(positions, written, strict=True))
        assert len(any_files.listdir(directory)) > 5
        assert log.synced == log.end
        assert log.report == ()
        log.close()
        log = LogFile.open(any_files, directory, applied=positions[30], random_bytes=os.urandom, max_segment=600)
    assert contents(log, positions[30]) == written[30:]
    log.close()


def test_two_sections_are_read_together_wherever_they_lie(any_files: Files, tmp_path: Path) -> None:
    log = LogFile.open(any_files, str(tmp_path / "log"), random_bytes=os.urandom, max_segment=30_000)
    sizes = [0, 1, 91, 92, 300, 3500, 4020, 4096, 5000, 9000, 20_000, 80, 16_400]
    positions = log.append(blocks_of(*(bytes([n]) * size for n, size in enumerate(sizes))), durable=True)
    positions += log.append(blocks_of(*(bytes([n, 1]) * n for n in range(20))), durable=True)
    for first in positions:
        for second in positions:
            assert log.read_pair(first, second) == (log.read_section(first), log.read_section(second))
    log.close()


@pytest.mark.parametrize("rotten", [0, 1])
@pytest.mark.parametrize("size", [10, 300, 6000])
def test_of_two_sections_one_that_has_rotted_is_corruption(files: MemoryFiles, rotten: int, size: int) -> None:
    log = open_log(files)
    positions = log.append(blocks_of(b"a" * size, b"b" * size), durable=True)
    files.files[ONE][car.split(positions[rotten])[1] + 45] ^= 1
    with pytest.raises(CorruptionError, match="does not hash"):
        log.read_pair(*positions)
    log.close()


def test_every_codec_of_ours_comes_back(files: MemoryFiles) -> None:
    log = open_log(files)
    blocks = [block_of(b"x", codec) for codec in (cid.DAG_CBOR, cid.RAW, cid.DAG_PB)]
    assert [log.read_section(position) for position in log.append(blocks, durable=True)] == blocks
    log.close()


def test_the_file_on_disk_is_a_car_file_as_written_out_by_hand(files: MemoryFiles) -> None:
    log = open_log(files)
    log.append(blocks_of(b"first", b"second"), durable=True)
    assert bytes(files.files[ONE]) == start(1, log.store) + section(b"first") + section(b"second")
    log.close()


def test_an_empty_group_is_nothing(files: MemoryFiles) -> None:
    log = open_log(files)
    end = log.end
    assert log.append([], durable=True) == []
    assert log.end == end
    log.close()


def test_without_durable_the_end_runs_ahead_of_what_is_synced(files: MemoryFiles) -> None:
    log = open_log(files)
    before = log.synced
    log.append(blocks_of(b"x"), durable=False)
    assert log.synced == before < log.end
    log.sync()
    assert log.synced == log.end
    log.close()


def test_a_group_that_does_not_fit_goes_whole_into_a_new_segment(files: MemoryFiles) -> None:
    log = open_log(files, max_segment=400)
    log.append(blocks_of(bytes(100)), durable=False)
    positions = log.append(blocks_of(bytes(90), bytes(91)), durable=False)
    assert [car.split(position)[0] for position in positions] == [2, 2]
    assert len(files.files[ONE]) <= 400
    log.append(blocks_of(bytes(1000)), durable=True)  # larger than a segment: alone in one
    assert sorted(os.path.basename(path) for path in files.files) == ["000001.car", "000002.car", "000003.car"]
    assert len(contents(log)) == 4
    log.close()


def test_all_segments_belong_to_one_store(files: MemoryFiles) -> None:
    log = open_log(files, max_segment=300)
    for n in range(9):
        log.append(blocks_of(bytes([n]) * 99), durable=True)
    store = log.store
    log.close()
    log = open_log(files, seed=1)
    assert log.store == store
    for path, content in files.files.items():
        part = int(os.path.basename(path)[:6])
        assert content.startswith(start(part, store))
    log.close()


def test_opening_leaves_a_log_of_many_segments_as_it_is(files: MemoryFiles) -> None:
    log = open_log(files, max_segment=300)
    for n in range(40):
        log.append(blocks_of(bytes([n]) * 99), durable=True)
    end = log.end
    log.close()
    before = {path: bytes(content) for path, content in files.files.items()}
    for applied in (0, end):
        log = open_log(files, applied, max_segment=300)
        assert (log.end, log.synced, log.report) == (end, end, ())
        log.close()
    assert {path: bytes(content) for path, content in files.files.items()} == before


def test_its_size_is_that_of_all_its_files(tmp_path: Path) -> None:
    log = LogFile.open(DiskFiles(), str(tmp_path), random_bytes=os.urandom, max_segment=200)
    for n in range(7):
        log.append(blocks_of(bytes([n]) * 150), durable=False)
    assert log.size == sum(path.stat().st_size for path in tmp_path.glob("*.car")) > 1000
    log.close()


def test_old_segments_are_read_with_a_bounded_number_of_open_files(tmp_path: Path) -> None:
    log = LogFile.open(DiskFiles(), str(tmp_path), random_bytes=os.urandom, max_segment=200)
    positions = [log.append(blocks_of(bytes([n]) * 150), durable=False)[0] for n in range(60)]
    before = len(os.listdir("/dev/fd"))
    for n, position in enumerate(positions * 2):
        assert log.read(position)[0] == n % 60
    assert len(os.listdir("/dev/fd")) <= before + 16
    log.close()


def test_a_large_block_reads_back_and_a_larger_one_is_refused(files: MemoryFiles) -> None:
    log = open_log(files, max_segment=8 << 20)
    (position,) = log.append(blocks_of(bytes(1 << 21)), durable=True)
    assert log.read(position) == bytes(1 << 21)
    end = log.end
    with pytest.raises(TooLargeError):
        log.append(blocks_of(b"small", bytes((1 << 21) + 1)), durable=True)
    assert log.end == end
    assert len(contents(log)) == 1
    log.close()


def test_a_digest_of_another_length_and_a_codec_of_others_are_refused(files: MemoryFiles) -> None:
    log = open_log(files)
    with pytest.raises(ValueError):
        log.append([(cid.RAW, b"short", b"x")], durable=True)
    with pytest.raises(ValueError):
        log.append([(0x72, bytes(32), b"x")], durable=True)
    assert contents(log) == []
    log.close()


def test_a_position_where_no_section_begins_is_corruption(files: MemoryFiles) -> None:
    log = open_log(files)
    (position,) = log.append(blocks_of(b"hello"), durable=True)
    for wrong in (position + 1, position - 1, log.end, car.position(1, 0), car.position(1, 1 << 31)):
        with pytest.raises(CorruptionError):
            log.read(wrong)
    with pytest.raises(StorageError):
        log.read(car.position(2, 129))
    log.close()


def test_a_torn_tail_is_saved_aside_and_cut(files: MemoryFiles) -> None:
    log = open_log(files)
    log.append(blocks_of(b"kept"), durable=True)
    log.close()
    torn = section(b"torn")[:-1]
    for n in (1, 2):
        files.files[ONE] += torn
        log = open_log(files)
        (finding,) = log.report
        assert (finding.state, finding.path, finding.saved) == ("torn", ONE, f"{ONE}.torn-{n}")
        assert bytes(files.files[finding.saved]) == torn
        assert contents(log) == [b"kept"]
        log.close()
    log = open_log(files)
    assert log.report == ()
    log.append(blocks_of(b"next"), durable=True)
    assert contents(log) == [b"kept", b"next"]
    log.close()


def test_a_segment_without_a_whole_head_goes_aside(files: MemoryFiles) -> None:
    log = open_log(files)
    log.append(blocks_of(b"kept"), durable=True)
    store = log.store
    log.close()
    files.files[TWO] = bytearray(start(2, store)[:100])
    log = open_log(files)
    assert [(finding.state, finding.saved) for finding in log.report] == [("torn", f"{TWO}.torn-1")]
    assert bytes(files.files[TWO]) == start(2, store)
    assert contents(log) == [b"kept"]
    log.close()


def test_an_empty_file_goes_without_a_trace(files: MemoryFiles) -> None:
    open_log(files).close()
    files.files[TWO] = bytearray()
    log = open_log(files)
    assert [(finding.state, finding.saved) for finding in log.report] == [("torn", "")]
    assert not files.exists(f"{TWO}.torn-1")
    log.close()


def test_damage_is_kept_reported_and_skipped_and_appending_goes_on_elsewhere(files: MemoryFiles) -> None:
    log = open_log(files)
    positions = log.append(blocks_of(b"one", b"two", b"three"), durable=True)
    log.close()
    files.files[ONE][car.split(positions[1])[1] + 37] ^= 1
    before = bytes(files.files[ONE])
    log = open_log(files)
    (finding,) = log.report
    assert (finding.state, finding.damage.position, finding.damage.size) == ("damaged", positions[1], 40)
    assert car.split(log.append(blocks_of(b"four"), durable=True)[0])[0] == 2
    assert [(found.block, found.doubtful) for found in log.scan()] == [
        (b"one", False),
        (b"three", True),
        (b"four", False),
    ]
    with pytest.raises(CorruptionError):
        log.read(positions[1])
    assert bytes(files.files[ONE]) == before
    assert [found for found in log.verify() if isinstance(found, Damage)] == [finding.damage]
    log.close()


def test_a_scan_that_starts_behind_damage_is_doubtful_too(files: MemoryFiles) -> None:
    log = open_log(files)
    positions = log.append(blocks_of(b"one", b"two", b"three", b"four"), durable=True)
    log.close()
    files.files[ONE][car.split(positions[1])[1] + 37] ^= 1
    open_log(files).close()  # finds the damage, begins a second segment
    for applied in (0, *positions[2:]):
        log = open_log(files, applied)
        assert [found.doubtful for found in log.scan(positions[3])] == [True]
        assert [found.doubtful for found in log.scan(positions[1])] == [True, True]
        assert [found.doubtful for found in log.scan(positions[0])][:1] == [False]
        log.close()
    (last,) = (log := open_log(files, car.position(2, 129))).append(blocks_of(b"five"), durable=True)
    assert [found.doubtful for found in log.scan(positions[2])] == [True, True, False]
    assert [found.doubtful for found in log.scan(last)] == [False]
    log.close()


def test_a_tail_is_not_cut_where_a_view_of_another_past_says_so(files: MemoryFiles) -> None:
    log = open_log(files)
    log.append(blocks_of(b"one", bytes(300)), durable=True)
    end = log.end
    log.close()
    for applied in range(car.position(1, 129) + 1, end + 10, 7):
        log = open_log(files, applied)
        assert contents(log) == [b"one", bytes(300)]
        log.close()
    log = open_log(files, car.position(9, 500))
    assert "which is missing" in log.report[0].damage.what
    assert contents(log) == [b"one", bytes(300)]
    log.close()


def test_what_the_view_had_read_is_never_cut(files: MemoryFiles) -> None:
    log = open_log(files)
    positions = log.append(blocks_of(b"one", b"two"), durable=True)
    end = log.end
    log.close()
    whole = bytes(files.files[ONE])
    for damaged in (whole[:-1], whole[: car.split(positions[1])[1]], whole[:-1] + b"?"):
        files = MemoryFiles()
        files.makedirs(DIRECTORY)
        files.files[ONE] = bytearray(damaged)
        log = open_log(files, end)
        assert bytes(files.files[ONE]) == damaged
        assert contents(log) == [b"one"]
        log.close()


def test_a_segment_of_another_store_is_reported_and_doubtful(files: MemoryFiles) -> None:
    open_log(files).close()
    files.files[TWO] = bytearray(start(2, b"another store---") + section(b"foreign"))
    log = open_log(files)
    assert [(finding.state, finding.damage.what) for finding in log.report] == [
        ("damaged", "the segment belongs to another store")
    ]
    log.append(blocks_of(b"own"), durable=True)
    assert [(found.block, found.doubtful) for found in log.scan()] == [(b"foreign", True), (b"own", False)]
    assert [found.what for found in log.verify() if isinstance(found, Damage)] == [log.report[0].damage.what]
    end = log.end
    log.close()
    log = open_log(files, end)
    assert [(found.block, found.doubtful) for found in log.scan()] == [(b"foreign", True), (b"own", False)]
    assert [found.doubtful for found in log.scan(car.position(2, 129))] == [True, False]
    log.close()


def test_a_missing_segment_is_reported_and_the_rest_is_read(files: MemoryFiles) -> None:
    log = open_log(files, max_segment=300)
    for n in range(4):
        log.append(blocks_of(bytes([n]) * 150), durable=True)
    log.close()
    del files.files[TWO]
    log = open_log(files)
    assert [finding.damage.what for finding in log.report] == ["segment 2 is missing"]
    assert [content[0] for content in contents(log)] == [0, 2, 3]
    assert [found.what for found in log.verify() if isinstance(found, Damage)] == ["segment 2 is missing"]
    log.close()


def test_other_names_in_the_directory_are_left_alone(files: MemoryFiles) -> None:
    files.makedirs(DIRECTORY)
    for name in ("000000.car", "1.car", "0000001.car", "000001.car.torn-1", "x.car", "notes"):
        files.files[f"{DIRECTORY}/{name}"] = bytearray(b"not ours")
    log = open_log(files)
    log.append(blocks_of(b"x"), durable=True)
    files.files[ONE] += b"torn"
    log.close()
    assert open_log(files).report[0].saved == f"{ONE}.torn-2"
    assert files.files[f"{DIRECTORY}/notes"] == files.files[f"{ONE}.torn-1"] == b"not ours"


def test_verify_tells_how_far_it_is_and_changes_nothing(files: MemoryFiles) -> None:
    log = open_log(files, max_segment=20 << 20)
    for n in range(18):
        log.append(blocks_of(bytes([n]) * (1 << 21)), durable=False)
    before = {path: bytes(content) for path, content in files.files.items()}
    found = list(log.verify())
    total = sum(map(len, before.values()))
    assert all(isinstance(one, Progress) and one.total == total for one in found)
    assert found[-1] == Progress(total, total)
    assert len(found) >= 3
    assert {path: bytes(content) for path, content in files.files.items()} == before
    log.close()


def test_an_unfinished_end_is_cut_at_a_section_and_saved(files: MemoryFiles) -> None:
    log = open_log(files)
    positions = log.append(blocks_of(b"one", b"two", b"three"), durable=True)
    log.close()
    log = open_log(files)
    log.truncate_to(positions[1])
    assert (log.end, log.synced) == (positions[1], positions[1])
    assert contents(log) == [b"one"]
    assert bytes(files.files[f"{ONE}.torn-1"]) == section(b"two") + section(b"three")
    assert log.append(blocks_of(b"four"), durable=True) == [positions[1]]
    log.close()
    log = open_log(files)
    assert contents(log) == [b"one", b"four"]
    log.close()


def test_an_unfinished_end_over_two_segments_is_cut_in_both(files: MemoryFiles) -> None:
    log = open_log(files, max_segment=400)
    positions = [log.append(blocks_of(bytes([n]) * 90), durable=True)[0] for n in range(5)]
    assert car.split(positions[1])[0] < car.split(positions[4])[0]
    log.close()
    log = open_log(files, max_segment=400)
    log.truncate_to(positions[1])
    assert [content[0] for content in contents(log)] == [0]
    log.append(blocks_of(b"next"), durable=True)
    log.close()
    log = open_log(files, max_segment=400)
    assert log.report == ()
    assert contents(log) == [bytes(90), b"next"]
    log.close()


def test_a_log_is_not_cut_in_a_section_or_behind_its_end_or_after_an_append(files: MemoryFiles) -> None:
    log = open_log(files)
    positions = log.append(blocks_of(b"one", b"two"), durable=True)
    with pytest.raises(ValueError):
        log.truncate_to(positions[1])
    log.close()
    log = open_log(files)
    for wrong in (positions[1] + 1, log.end + 1):
        with pytest.raises(ValueError):
            log.truncate_to(wrong)
    log.truncate_to(log.end)
    assert contents(log) == [b"one", b"two"]
    log.close()


def test_a_damaged_end_is_not_cut(files: MemoryFiles) -> None:
    log = open_log(files)
    positions = log.append(blocks_of(b"one", b"two", b"three", b"four"), durable=True)
    log.close()
    files.files[ONE][car.split(positions[2])[1] + 37] ^= 1
    log = open_log(files)
    before = bytes(files.files[ONE])
    for position in (positions[1], positions[3]):
        with pytest.raises(CorruptionError):
            log.truncate_to(position)
    assert bytes(files.files[ONE]) == before
    log.close()


def test_a_closed_log_is_closed(files: MemoryFiles) -> None:
    log = open_log(files)
    (position,) = log.append(blocks_of(b"x"), durable=True)
    log.close()
    log.close()
    for call in (lambda: log.append([], durable=True), log.sync, lambda: log.read(position)):
        with pytest.raises(ClosedError):
            call()
