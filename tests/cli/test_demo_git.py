"""Reading a history from git, whatever stands in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from debros.cli.demo.git import read_git
from debros.cli.demo.past import CommitPast, FilePast
from debros.cli.exits import CommandError
from tests.support.repositories import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "project")


def commits_of(repository: Repository, limit: int = 1_000) -> tuple[CommitPast, ...]:
    return read_git(repository.root, limit).commits


def test_commits_come_oldest_first_with_their_files_and_lines(repository: Repository) -> None:
    repository.write("README.md", "one\ntwo\n")
    first = repository.commit("Begin", "Ana", zone="-0800")
    repository.write("README.md", "one\nthree\n")
    repository.write("src/a.py", "x = 1\n")
    second = repository.commit("Go on", "Bo Lindqvist")

    past = read_git(repository.root, 1_000)
    assert (past.name, past.source, past.note) == ("project", "git", "")
    assert past.commits == (
        CommitPast(first, "Ana", datetime(2024, 1, 1, 20, tzinfo=UTC), "Begin", (FilePast("README.md", 2, 0),)),
        CommitPast(
            *(second, "Bo Lindqvist", datetime(2024, 1, 2, 12, tzinfo=UTC), "Go on"),
            files=(FilePast("README.md", 1, 1), FilePast("src/a.py", 1, 0)),
        ),
    )
    assert [file.area for file in past.commits[1].files] == [".", "src"]


def test_a_renamed_file_counts_under_its_new_name(repository: Repository) -> None:
    repository.write("old name.txt", "1\n2\n3\n4\n5\n6\n7\n8\n")
    repository.write("other.txt", "a\n")
    repository.commit("Begin")
    repository.git("mv", "old name.txt", "new name.txt")
    repository.write("new name.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")
    repository.write("other.txt", "b\n")
    repository.commit("Rename")
    assert commits_of(repository)[1].files == (FilePast("new name.txt", 1, 0), FilePast("other.txt", 1, 1))


def test_a_binary_file_counts_no_lines(repository: Repository) -> None:
    repository.write("logo.png", b"\x89PNG\0\1\2")
    repository.commit("Draw")
    assert commits_of(repository)[0].files == (FilePast("logo.png", 0, 0),)


@pytest.mark.parametrize(
    "name", ["tab\there", "line\nbreak", 'quo"te', "\x01begins like a commit", "-\t-\tlike numstat", "ünï/cödé", " "]
)
def test_a_file_may_have_any_name(repository: Repository, name: str) -> None:
    repository.write("first.txt", "1\n")
    repository.write(name, "1\n")
    repository.commit("Begin")
    repository.commit("Empty")
    one, two = commits_of(repository)
    assert sorted(file.path for file in one.files) == sorted(["first.txt", name])
    assert two.files == ()


def test_a_file_name_that_is_not_utf_8_keeps_its_bytes_apart(repository: Repository) -> None:
    repository.write(b"caf\xe9", "1\n")
    repository.write(b"caf\xe8", "1\n")
    repository.commit("Begin")
    assert {file.path for file in commits_of(repository)[0].files} == {"caf\\xe9", "caf\\xe8"}


def test_text_in_another_encoding_is_read_by_what_the_commit_declares(repository: Repository) -> None:
    repository.git("config", "i18n.commitEncoding", "ISO-8859-1")
    repository.git("config", "i18n.logOutputEncoding", "ISO-8859-1")
    tree = repository.git("write-tree").decode().strip()
    sha = repository.git(
        *("commit-tree", tree, "-m", b"Caf\xe9"),
        GIT_AUTHOR_NAME="Ana", GIT_AUTHOR_EMAIL="a@example.org", GIT_AUTHOR_DATE="2024-01-01T00:00:00Z",
        GIT_COMMITTER_NAME="Ana", GIT_COMMITTER_EMAIL="a@example.org", GIT_COMMITTER_DATE="2024-01-01T00:00:00Z",
    )  # fmt: skip
    repository.git("update-ref", "refs/heads/main", sha.decode().strip())
    assert commits_of(repository)[0].subject == "Café"


def raw_commit(repository: Repository, author_line: bytes, message: bytes) -> None:
    """Write a commit object that git itself would not write."""
    tree = repository.git("write-tree").strip()
    committer = b"committer Bo <b@example.org> 1704067200 +0000"
    content = b"tree " + tree + b"\n" + author_line + b"\n" + committer + b"\n\n" + message
    repository.write(".git/raw", content)
    sha = repository.git("hash-object", "-t", "commit", "-w", "--literally", ".git/raw").decode().strip()
    repository.git("update-ref", "refs/heads/main", sha)


@pytest.mark.parametrize(
    ("author_line", "author", "at"),
    [
        (b"author  <> 1704067200 +0000", "(no name)", datetime(2024, 1, 1, tzinfo=UTC)),
        (b"author Ana\xff <a> 1704067200 +9999", "Ana\ufffd", datetime(2024, 1, 1, tzinfo=UTC)),
        (b"author Ana <a> 999999999999999 +0000", "Ana", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"author Ana <a>", "Ana", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
    ids=["no name", "wrong bytes and zone", "far future", "no date"],
)
def test_a_commit_that_git_would_not_write_can_be_read(
    repository: Repository, author_line: bytes, author: str, at: datetime
) -> None:
    raw_commit(repository, author_line, b"Odd \xff\n")
    (commit,) = commits_of(repository)
    assert (commit.author, commit.subject) == (author, "Odd \ufffd")
    assert commit.authored_at == at


def test_empty_commits_empty_messages_and_merges_count_no_files(repository: Repository) -> None:
    repository.write("a", "1\n")
    repository.commit("Begin")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.write("b", "1\n")
    repository.commit("Side")
    repository.git("checkout", "--quiet", "main")
    repository.commit("")
    repository.git("-c", "user.name=Ana", "-c", "user.email=a@b", "merge", "--quiet", "--no-ff", "-m", "Merge", "side")
    told = {commit.subject: len(commit.files) for commit in commits_of(repository)}
    assert told == {"Begin": 1, "Side": 1, "": 0, "Merge": 0}


def test_only_the_newest_commits_are_read(repository: Repository) -> None:
    for number in range(4):
        repository.commit(f"Number {number}")
    assert [commit.subject for commit in commits_of(repository, 2)] == ["Number 2", "Number 3"]


def test_a_users_configuration_does_not_change_what_is_read(repository: Repository) -> None:
    repository.write("src/a", "1\n")
    repository.commit("Begin")
    for name, value in [
        ("log.showSignature", "true"),
        ("color.ui", "always"),
        ("diff.relative", "true"),
        ("diff.noprefix", "true"),
        ("format.pretty", "fuller"),
        ("log.date", "relative"),
    ]:
        repository.git("config", name, value)
    past = read_git(repository.root / "src", 10)
    assert past.name == "project"
    assert [commit.files for commit in past.commits] == [(FilePast("src/a", 1, 0),)]


def test_a_shallow_clone_says_that_it_is_one(repository: Repository, tmp_path: Path) -> None:
    for number in range(3):
        repository.write("a", f"{number}\n")
        repository.commit(f"Number {number}")
    repository.git("clone", "--quiet", "--depth=2", f"file://{repository.root}", str(tmp_path / "clone"))
    past = read_git(tmp_path / "clone", 10)
    assert [commit.subject for commit in past.commits] == ["Number 1", "Number 2"]
    assert "shallow" in past.note


def test_a_bare_repository_can_be_read(repository: Repository, tmp_path: Path) -> None:
    repository.commit("Begin")
    repository.git("clone", "--quiet", "--bare", str(repository.root), str(tmp_path / "bare.git"))
    past = read_git(tmp_path / "bare.git", 10)
    assert (past.name, len(past.commits)) == ("bare.git", 1)


def test_a_repository_without_commits_is_refused_in_gits_words(repository: Repository) -> None:
    with pytest.raises(CommandError, match="does not have any commits yet"):
        read_git(repository.root, 10)


@pytest.mark.parametrize("missing", [True, False], ids=["not there", "not a repository"])
def test_a_place_that_is_no_repository_is_named(tmp_path: Path, missing: bool) -> None:
    place = tmp_path / "nothing" if missing else tmp_path
    with pytest.raises(CommandError, match="git cannot read") as refused:
        read_git(place, 10)
    assert str(place) in str(refused.value)


def test_without_git_it_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="git is not installed"):
        read_git(repository.root, 10)
