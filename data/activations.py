"""The SQL relation `activations`: every stored vector as a row, streamed from the memory-mapped shards on demand."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from data.catalogue import SiteKey
from data.payload import BATCH_SCHEMA, Payload

_EMPTY = (
    "SELECT NULL::VARCHAR AS capture, NULL::INTEGER AS prompt, NULL::INTEGER AS position, NULL::INTEGER AS layer, "
    "NULL::VARCHAR AS site, NULL::FLOAT[] AS values WHERE false"
)


class _Rows:
    """Arrow rows of one site of one capture; every scan asks for a stream of its own, so joins with itself work."""

    def __init__(self, payload: Payload, key: SiteKey) -> None:
        self._payload, self._key = payload, key

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        batches = self._payload.batches(self._key)
        return pa.RecordBatchReader.from_batches(BATCH_SCHEMA, batches).__arrow_c_stream__(requested_schema)


def register(connection: duckdb.DuckDBPyConnection, captures: Path) -> None:
    """Make the temporary view `activations`: capture, prompt, position, layer, site, values FLOAT[].

    One branch a capture and site, with those as constants: DuckDB drops the branches a WHERE excludes before any of
    their pages is touched.
    """
    branches = [_EMPTY]
    for (name,) in connection.execute("SELECT name FROM captures ORDER BY name").fetchall():
        payload = Payload(connection, captures, name)
        for key in payload.sites:
            relation = f"activation_rows_{len(branches)}"
            connection.register(relation, _Rows(payload, key))
            layer = "NULL::INTEGER" if key[0] is None else f"{key[0]}::INTEGER"
            labels = f"{_text(name)} AS capture, prompt, position, {layer} AS layer, {_text(key[1])} AS site"
            branches.append(f"SELECT {labels}, values FROM {relation}")  # noqa: S608 our own names
    connection.execute(f"CREATE TEMP VIEW activations AS {' UNION ALL '.join(branches)}")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
