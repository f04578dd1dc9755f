"""Which entity a row belongs to: in the table by its text, in labelled rows by a keyed hash.

A side of a cut is decided by a hash of the entity's *code*. The rules:

- An entity that the table names has the code of its text. So nothing moves in a project whose
  requests name no entity, and the same table and seed give the same sides under any key.
- A labelled row from service carries a keyed hash (`core.entities`). The texts of the table are
  hashed with the same key; where one has that hash, the row is that entity's and gets its code.
- An entity that only service knows has the code of its hash.
- A code is for ever. The bundle records hash and code of each entity that has labelled rows
  (`entities.bin`), and the next job goes by its champion's record first: an entity that was met in
  service keeps its side when the table names it later, and one that left the table keeps the side
  that its text had. One that is in neither any more is forgotten; the champion was not trained on
  it. Like the cut, the record comes from the champion, so a run that never went live leaves none.
- A row that names no entity is one of its own, and goes by what it holds (its encoded vector):
  never by its position, which changes as files come.

The key (`entity.key`) is made by the first job whose contract has an entity column, and taken over
from the champion by every later one. Hashes under another key or of another column cannot be
compared with the table's: each is taken for an entity that the table does not know.

A labelled row is never a newer state of the table's row of the same id (`[data] arrival`): it is
what was known at another moment, with the answer that came of it. It counts beside the table's row,
on the same side. Only where the table marks an id as deleted do its labelled rows go, too.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.bundle import ENTITIES, ENTITY_KEY, Bundle
from core.contract import Contract
from core.entities import KEY_BYTES, EntityKey, spell_entity
from core.errors import BundleError
from training.data.columns import Series
from training.data.hashing import NAMELESS, code_texts
from training.jobs import Job
from training.log import Log

Texts: TypeAlias = NDArray[Any]
"""One entity a row, as `spell_entity` writes it, or its keyed hash; None where it has none."""
Codes: TypeAlias = NDArray[np.uint64]

_TAG_BYTES = 8
_ENTRY = np.dtype([("hash", "S32"), ("code", "<u8")])


@dataclass(frozen=True)
class Named:
    """The codes of each row's group and id, None without such a column; `NAMELESS` where unknown.

    `files` are the bundle's own of entities.
    """

    groups: Codes | None
    ids: Codes | None
    files: Mapping[str, bytes] = field(repr=False)


def spell_entities(values: Series) -> Texts:
    """Spell a column's entities."""
    codes, distinct = pd.factorize(values.astype(object), use_na_sentinel=True)
    plain = [value.item() if isinstance(value, np.generic) else value for value in distinct]
    spelled: Texts = np.asarray([*map(spell_entity, plain), None], dtype=object)
    return np.asarray(spelled[codes], dtype=object)


def read_key(job: Job) -> bytes | None:
    """Take over the champion's key; None where there is no champion, or one without a key."""
    if job.champion is None:
        return None
    champion = Bundle.from_folder(job.champion)
    return champion.file(ENTITY_KEY) if ENTITY_KEY in champion else None


def name_entities(
    job: Job,
    contract: Contract,
    *,
    groups: Texts | None,
    ids: Texts | None,
    hashes: Texts | None,
    log: Log,
) -> Named:
    """Give each row's entities their codes.

    `groups` and `ids` are the texts of these columns, `hashes` what labelled rows carry instead.
    """
    key, column = read_key(job), contract.entity_column
    if column is None:
        files = {} if key is None else {ENTITY_KEY: key}
        return Named(None, None, files)
    key = key or secrets.token_bytes(KEY_BYTES)
    files = {ENTITY_KEY: key}
    coded: dict[str | None, Codes | None] = {
        contract.id_column: _code(ids),
        contract.group_column: _code(groups),
    }
    texts = groups if column == contract.group_column else ids
    if texts is not None:
        hasher = EntityKey(key, column)
        known = _read_record(job, hasher)
        if known or hashes is not None:
            coded[column], record = _code_hashed(texts, hashes, hasher, known, log)
            files[ENTITIES] = _write_record(hasher, record)
    return Named(
        coded[contract.group_column] if contract.group_column else None,
        coded[contract.id_column] if contract.id_column else None,
        files,
    )


def _code(texts: Texts | None) -> Codes | None:
    if texts is None:
        return None
    found, distinct = pd.factorize(texts, use_na_sentinel=True)
    codes: Codes = np.append(code_texts(distinct), NAMELESS)[found]
    return codes


def _code_hashed(
    texts: Texts, hashes: Texts | None, hasher: EntityKey, known: Mapping[str, int], log: Log
) -> tuple[Codes, dict[str, int]]:
    """Code the rows by text or hash; gives what is to be recorded, too."""
    found, distinct = pd.factorize(texts, use_na_sentinel=True)
    of_text = [str(hasher.hash(text)) for text in distinct]
    plain = code_texts(distinct)
    table = {name: known.get(name, int(code)) for name, code in zip(of_text, plain, strict=True)}
    codes: Codes = np.asarray([*table.values(), int(NAMELESS)], dtype=np.uint64)[found]
    back: dict[str, int] = {}
    if hashes is not None:
        carried = np.flatnonzero((found < 0) & np.asarray([h is not None for h in hashes]))
        names, which = np.unique(hashes[carried].astype(str), return_inverse=True)
        own = code_texts(names)
        for name, code in zip(names.tolist(), own, strict=True):
            back[name] = table.get(name, known.get(name, int(code)))
        if len(carried):
            codes[carried] = np.asarray(list(back.values()), dtype=np.uint64)[which]
        _say(log, back, table, hasher)
    # What is coded otherwise than its text would be, or has labelled rows, must be remembered.
    kept = {name: table[name] for name in table.keys() & known.keys()}
    mine = {name: code for name, code in back.items() if name.startswith(hasher.tag)}
    return codes, {**kept, **mine}


def _say(log: Log, back: Mapping[str, int], table: Mapping[str, int], hasher: EntityKey) -> None:
    foreign = sum(not name.startswith(hasher.tag) for name in back)
    inside = len(back.keys() & table.keys())
    log.say(f"labelled rows name {len(back)} entities, {inside} of them in the table")
    if foreign:
        log.say(
            f"warning: {foreign} of these were hashed under another key or for another column, so "
            "they cannot be looked up in the table: their rows may be of its entities and on the "
            "other side of the split. This happens after the live model was trained without its "
            "champion, or the group or id column was changed"
        )


def _read_record(job: Job, hasher: EntityKey) -> dict[str, int]:
    """Read the champion's record of codes by hash; one of another key or column says nothing."""
    if job.champion is None:
        return {}
    champion = Bundle.from_folder(job.champion)
    if ENTITIES not in champion:
        return {}
    content = champion.file(ENTITIES)
    tag, body = content[:_TAG_BYTES], content[_TAG_BYTES:]
    if len(tag) != _TAG_BYTES or len(body) % _ENTRY.itemsize:
        raise BundleError(f"{ENTITIES} is not a record of entities")
    if tag.decode("ascii", "replace") != hasher.tag:
        return {}
    entries = np.frombuffer(body, dtype=_ENTRY)
    names = [f"{hasher.tag}:{entry.decode()}" for entry in entries["hash"].tolist()]
    return dict(zip(names, entries["code"].tolist(), strict=True))


def _write_record(hasher: EntityKey, record: Mapping[str, int]) -> bytes:
    names = sorted(record)
    entries = np.zeros(len(names), dtype=_ENTRY)
    entries["hash"] = [name.partition(":")[2].encode() for name in names]
    entries["code"] = [record[name] for name in names]
    return hasher.tag.encode() + entries.tobytes()
