"""`MediaStore`: the files, as rows in SQLite and contents on disk. Blocking; one thread at a time.

A row is a `Media` message without its `presigned_url`: URLs are signed at each read and never stored.
"""

import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from proxy.pb.media_pb2 import Media, UploadFileRequest

_COLUMNS = [field.name for field in Media.DESCRIPTOR.fields if field.name != "presigned_url"]
_Values = Sequence[str | int]
_TABLE = """
create table if not exists media (
    id integer primary key autoincrement,
    model_type text not null, model_id integer not null, uuid text not null unique, collection_name text not null,
    name text not null, file_name text not null, mime_type text not null, disk text not null,
    conversions_disk text not null, size integer not null, manipulations text not null,
    custom_properties text not null, generated_conversions text not null, responsive_images text not null,
    order_column integer not null, created_at integer not null, updated_at integer not null,
    model_key text not null  -- model_type case-folded: the case given is kept, but not compared
);
create index if not exists media_of_model on media (model_key, model_id);
"""


class MediaStore:
    """Files below a directory that must exist. Every method may raise sqlite3.Error or OSError."""

    def __init__(self, directory: Path, first_id: int = 1, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._contents = directory / "contents"
        self._contents.mkdir(exist_ok=True)
        # The owner calls from a worker thread, which is not the one that creates the store.
        self._rows = sqlite3.connect(directory / "media.sqlite3", check_same_thread=False)
        self._rows.executescript(_TABLE)
        if self.empty():
            with self._rows:
                self._rows.execute("delete from sqlite_sequence")
                self._rows.execute("insert into sqlite_sequence values ('media', ?)", (first_id - 1,))

    def empty(self) -> bool:
        """Whether it contains no files."""
        return self._rows.execute("select 1 from media limit 1").fetchone() is None

    def add(self, upload: UploadFileRequest, size: int | None = None) -> Media:
        """Stores a file and returns its row; `size` replaces the content's length for seeds without content."""
        media = self._described(upload, len(upload.content) if size is None else size)
        (self._contents / media.uuid).write_bytes(upload.content)
        row = {name: getattr(media, name) for name in _COLUMNS if name != "id"}
        row["model_key"] = upload.model_type.casefold()
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        with self._rows:
            cursor = self._rows.execute(f"insert into media ({names}) values ({marks})", list(row.values()))  # noqa: S608
        media.id = cursor.lastrowid or 0
        return media

    def by_id(self, media_id: int) -> Media | None:
        """The file with this id."""
        return next(iter(self._select("where id = ?", [media_id])), None)

    def by_uuid(self, media_uuid: str) -> Media | None:
        """The file with this uuid."""
        return next(iter(self._select("where uuid = ?", [media_uuid])), None)

    def by_model(
        self, model_type: str, model_id: int, collection: str, page: int, per_page: int
    ) -> tuple[list[Media], int]:
        """One page of a model's files, newest first, and how many files the model has.

        An empty `collection` means all. The count is of the whole model, whatever the page and the collection.
        """
        where = "where model_key = ? and model_id = ?"
        values: _Values = [model_type.casefold(), model_id]
        total = self._count(where, values)
        return self._page(*_within(where, values, collection), page, per_page), total

    def every(self, model_type: str, collection: str, page: int, per_page: int) -> tuple[list[Media], int]:
        """Returns one page of all files, newest first, and their total number; an empty filter means all."""
        everything: tuple[str, _Values] = ("where true", [])
        where, values = ("where model_key = ?", [model_type.casefold()]) if model_type else everything
        where, values = _within(where, values, collection)
        return self._page(where, values, page, per_page), self._count(where, values)

    def delete(self, media_id: int) -> Media | None:
        """Deletes a file and returns its row; None if there is none."""
        media = self.by_id(media_id)
        if media:
            with self._rows:
                self._rows.execute("delete from media where id = ?", [media_id])
            (self._contents / media.uuid).unlink(missing_ok=True)
        return media

    def close(self) -> None:
        """Closes the database."""
        self._rows.close()

    def _described(self, upload: UploadFileRequest, size: int) -> Media:
        of_model = self._count("where model_key = ? and model_id = ?", [upload.model_type.casefold(), upload.model_id])
        now = int(self._clock())
        return Media(
            model_type=upload.model_type,
            model_id=upload.model_id,
            uuid=str(uuid.uuid4()),
            collection_name=upload.collection_name,
            name=upload.name or PurePath(upload.file_name).stem,
            file_name=upload.file_name,
            mime_type=upload.mime_type or "application/octet-stream",
            disk=upload.disk or "minio",
            conversions_disk=upload.disk or "minio",
            size=size,
            manipulations="[]",
            custom_properties="[]",
            generated_conversions="[]",
            responsive_images="[]",
            order_column=of_model + 1,
            created_at=now,
            updated_at=now,
        )

    def _page(self, where: str, values: _Values, page: int, per_page: int) -> list[Media]:
        return self._select(f"{where} order by id desc limit ? offset ?", [*values, per_page, (page - 1) * per_page])

    def _select(self, clauses: str, values: _Values) -> list[Media]:
        rows = self._rows.execute(f"select {', '.join(_COLUMNS)} from media {clauses}", values)  # noqa: S608
        return [Media(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]

    def _count(self, where: str, values: _Values) -> int:
        (count,) = self._rows.execute(f"select count(*) from media {where}", values).fetchone()  # noqa: S608
        return int(count)


def _within(where: str, values: _Values, collection: str) -> tuple[str, _Values]:
    return (f"{where} and collection_name = ?", [*values, collection]) if collection else (where, values)
