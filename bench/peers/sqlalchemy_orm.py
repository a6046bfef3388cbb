"""SQLAlchemy 2, the ORM. Bulk by `session.execute(insert(Post), ...)`, its documented way; tags are `JSON`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Engine, Index, create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.peers import Synchronous


class Base(DeclarativeBase):
    """Base of its classes."""


class Post(Base):
    """The document."""

    __tablename__ = "posts"

    id: Mapped[str] = mapped_column(primary_key=True)
    author_id: Mapped[str]
    title: Mapped[str]
    body: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(JSON)
    likes: Mapped[int] = mapped_column(index=True)
    rating: Mapped[float]
    published: Mapped[bool]
    language: Mapped[str]
    created_at: Mapped[datetime]


Index("posts_author", Post.author_id, Post.created_at.desc())


def _given(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "tags": sorted(document["tags"])}


class SqlAlchemy:
    """The documents in one table."""

    name = "SQLAlchemy 2 ORM"

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._engine: Engine = create_engine(f"sqlite:///{path}")

        @event.listens_for(self._engine, "connect")
        def _(connection: Any, _: object) -> None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")

        Base.metadata.create_all(self._engine)

    def insert(self, documents: list[dict[str, Any]]) -> None:
        with Session(self._engine) as session:
            for document in documents:
                session.add(Post(**_given(document)))
                session.commit()

    def insert_many(self, documents: list[dict[str, Any]]) -> None:
        with Session(self._engine) as session:
            session.execute(insert(Post), [_given(document) for document in documents])
            session.commit()

    def get(self, ids: list[str]) -> None:
        with Session(self._engine) as session:
            for id in ids:
                assert session.get(Post, id) is not None

    def newest_of(self, authors: list[str]) -> None:
        with Session(self._engine) as session:
            for author in authors:
                question = select(Post).where(Post.author_id == author).order_by(Post.created_at.desc()).limit(20)
                assert len(session.scalars(question).all()) == 20

    def matching(self, least: float) -> int:
        with Session(self._engine) as session:
            return len(session.scalars(select(Post).where(Post.rating > least)).all())

    def close(self) -> None:
        self._engine.dispose()
