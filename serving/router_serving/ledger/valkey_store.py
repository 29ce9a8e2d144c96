"""The ledger on a Valkey or Redis server, which any number of machines may share.

A batch is one script on the server: nothing comes between its parts, and the answer comes once
the server's disk has them. Time is that of the batches; the server's clock only decides how long
old counts and the balances of ended windows are kept.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

import msgspec

from router_serving.errors import LedgerError
from router_serving.ledger import types
from router_serving.ledger.sqlite_books import ACCOUNT_KEPT_S
from router_serving.ledger.types import Balance, Batch, Committed, Pace, Switch
from router_serving.ledger.valkey_link import Client, ValkeyLink, address_of
from router_serving.ledger.valkey_parts import joined, parts_of

_COMMIT: Final = ("valkey_state.lua", "valkey_decisions.lua", "valkey_commit.lua")
_CLAIM: Final = ("valkey_claim.lua",)
_HOUR_S: Final = 3600
_WEEK_HOURS: Final = 7 * 24
_N_WEEKS: Final = 8
_DAY_S: Final = 86_400
# What the scripts have to know of types.py, and for how long they keep what is over.
_LIMITS: Final = msgspec.msgpack.encode(
    {
        "grace_s": types.GRACE_S,
        "wanted_s": types.WANTED_S,
        "implausible_times": types.IMPLAUSIBLE_TIMES,
        "implausible_amount": types.IMPLAUSIBLE_AMOUNT,
        "kept_s": types.KEPT_S,
        "account_kept_s": ACCOUNT_KEPT_S,
        "hour_kept_s": (_N_WEEKS + 1) * 7 * _DAY_S,
    }
)
# Claims of an outage that are remembered; of more, one that was carried out is not told again.
_MAX_UNSURE: Final = 1000


class ValkeyStore:
    """A LedgerStore at valkey://[user:password@]host[:port][/db][?prefix=name].

    redis:// is the same, valkeys:// and rediss:// are encrypted. The server must sync every write
    to its disk and evict nothing, or is refused; `trust_durability` accepts one that does not show
    its settings. Safe to use from several threads.
    """

    def __init__(self, url: str, *, trust_durability: bool = False) -> None:
        address = address_of(url)
        self._link = ValkeyLink(address, trust_durability=trust_durability)
        self._root = f"{{{address.prefix}}}:"
        self._commit = _Script(_COMMIT)
        self._claim = _Script(_CLAIM)
        # The answers to the first parts of large batches whose others failed.
        self._begun: dict[tuple[str, int], list[Committed]] = {}
        # Claims whose answer was lost, so that the same claim can be made again.
        self._unsure: dict[str, str] = {}
        self.check()

    def check(self) -> None:
        """LedgerError unless the server is a primary that keeps what it confirms."""
        self._link.check()

    def commit(self, batch: Batch) -> Committed:
        """Carry out a batch, durably, or not at all.

        Where an answer was lost, LedgerError leaves open which of the two, or how many parts of a
        large batch were: send the same again, which goes on from there where it has a number.
        """
        name = (batch.worker, batch.number)
        answers = self._begun.pop(name, []) if batch.number else []
        parts = parts_of(batch)
        try:
            for part in parts[len(answers) :]:
                answers.append(self._committed(part))
        except LedgerError:
            if batch.number and answers:
                self._begun[name] = answers
            raise
        return joined(parts, answers)

    def balances(self, keys: Sequence[str]) -> Mapping[str, Balance]:
        """The accounts as they are; all zero for one that was never used."""
        names = ("settled", "held", "leased")
        rows = self._hashes([f"account:{key}" for key in keys], names)
        return {
            key: Balance(**{name: int(value or 0) for name, value in zip(names, row, strict=True)})
            for key, row in zip(keys, rows, strict=True)
        }

    def pace(self, subject: str, *, now_s: float) -> Pace:
        """How a subject's last 60 seconds compare with the same hour of the weeks before."""
        minute, hour = int(now_s // 60), int(now_s // _HOUR_S)
        places = [f"minute:{minute}:{subject}", f"minute:{minute - 1}:{subject}"]
        places += [f"hour:{hour - _WEEK_HOURS * i}:{subject}" for i in range(1, _N_WEEKS + 1)]
        rows = self._hashes(places, ("calls", "microusd"))
        present, before = ([int(value or 0) for value in row] for row in rows[:2])
        rest_s = 60.0 - now_s % 60.0
        calls, microusd = (
            now + int(then * rest_s / 60.0) for now, then in zip(present, before, strict=True)
        )
        weeks = [(int(row[0]), int(row[1] or 0)) for row in rows[2:] if row[0] is not None]
        minutes = 60.0 * max(1, len(weeks))
        return Pace(
            calls=calls,
            microusd=microusd,
            usual_calls=sum(week[0] for week in weeks) / minutes,
            usual_microusd=sum(week[1] for week in weeks) / minutes,
            n_weeks=len(weeks),
        )

    def switches(self) -> Sequence[Switch]:
        """The switches that are on."""
        rows = self._link.call(
            lambda client: client.execute_command("HGETALL", self._root + "switches")
        )
        found = [msgspec.msgpack.decode(row, type=Switch) for row in rows.values()]
        return sorted(found, key=lambda switch: switch.subject)

    def switch_on(self, switch: Switch) -> None:
        """Stop a subject, for every process, until it is switched off."""
        words = ("HSET", self._root + "switches", switch.subject, msgspec.msgpack.encode(switch))
        self._link.call(lambda client: client.execute_command(*words))

    def switch_off(self, subject: str) -> bool:
        """Let a subject go on; False when it was not stopped."""
        words = ("HDEL", self._root + "switches", subject)
        n_gone = self._link.call(lambda client: client.execute_command(*words), is_repeatable=False)
        return bool(n_gone)

    def claim(self, notice: str, *, until_s: float) -> bool:
        """True for the first to claim a notice, until a time of the clock: it is sent once."""
        # A claim whose answer was lost is made again under the same name, and then still won.
        name = self._unsure.pop(notice, None) or secrets.token_hex(8)
        times = (repr(until_s), repr(time.time()))
        try:
            is_won = self._link.call(
                lambda client: self._claim.run(client, self._root, notice, *times, name)
            )
        except LedgerError:
            if len(self._unsure) < _MAX_UNSURE:
                self._unsure[notice] = name
            raise
        return bool(is_won)

    def close(self) -> None:
        """Give back the connections; leases lapse by themselves."""
        self._link.close()

    def _committed(self, batch: Batch) -> Committed:
        said = msgspec.msgpack.encode(batch)
        answer = self._link.call(
            lambda client: self._commit.run(client, self._root, said, _LIMITS),
            is_repeatable=batch.number > 0,
        )
        return msgspec.msgpack.decode(answer, type=Committed)

    def _hashes(self, places: Sequence[str], names: Sequence[str]) -> list[list[bytes | None]]:
        """The named values of each place, in one turn."""

        def ask(client: Client) -> list[list[bytes | None]]:
            pipeline = client.pipeline(transaction=False)
            for place in places:
                pipeline.hmget(self._root + place, list(names))
            rows: list[list[bytes | None]] = pipeline.execute()
            return rows

        return self._link.call(ask) if places else []


class _Script:
    """A script on the server: sent by its hash, and whole to a server that does not know it."""

    def __init__(self, names: Sequence[str]) -> None:
        folder = files("router_serving.ledger")
        self._source = "".join(folder.joinpath(name).read_text("utf-8") for name in names)
        self._hash = sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Client, root: str, *values: str | bytes) -> Any:
        """What the script answers."""
        from valkey.exceptions import NoScriptError

        try:
            return client.execute_command("EVALSHA", self._hash, 1, root, *values)
        except NoScriptError:
            return client.execute_command("EVAL", self._source, 1, root, *values)
