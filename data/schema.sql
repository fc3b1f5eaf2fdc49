-- The catalogue of one Interp Workbench workspace: everything that is asked about lives in this DuckDB file.
-- The wide float payload (activations) lies beside it, in captures/NAME/*.safetensors; `extents` says where.
-- Results are further tables, one per (analysis, frame), named analysis__frame, made when first saved. Each has the
-- columns `run` (runs.key) and `row` (0, 1, 2 … in the order of the frame) before its own.
-- This file is run once, on a new workspace. After any change to it, raise SCHEMA_VERSION in data/connection.py.

-- What this file is: ('application', 'interp-workbench') and ('schema_version', '1').
CREATE TABLE meta (
    key   VARCHAR PRIMARY KEY,
    value VARCHAR NOT NULL
);

-- Model identities. Two models differ as soon as one field of `identity` differs.
CREATE TABLE models (
    key          VARCHAR PRIMARY KEY,  -- SHA-256 of the canonical JSON of `identity`, first 16 hex digits
    name         VARCHAR,
    source       VARCHAR,
    revision     VARCHAR,              -- checksum of the weights
    quantisation VARCHAR,
    dtype        VARCHAR,
    processing   VARCHAR,
    identity     VARCHAR NOT NULL      -- the whole identity as JSON
);

-- One row a run, finished, failed or cancelled.
CREATE TABLE runs (
    key      VARCHAR PRIMARY KEY,      -- content key: model, inputs, analysis, version, spec
    analysis VARCHAR NOT NULL,
    version  INTEGER NOT NULL,
    model    VARCHAR NOT NULL,         -- models.key
    inputs   VARCHAR NOT NULL,         -- JSON
    spec     VARCHAR NOT NULL,         -- JSON
    checks   VARCHAR NOT NULL,         -- JSON: the trust checks in force
    status   VARCHAR NOT NULL CHECK (status IN ('done', 'failed', 'cancelled')),
    error    VARCHAR NOT NULL,         -- empty unless failed
    seconds  DOUBLE  NOT NULL,
    created  VARCHAR NOT NULL          -- ISO 8601, UTC
);

-- The result frames of a run: enough to read each back exactly as it was saved.
CREATE TABLE run_frames (
    run        VARCHAR NOT NULL,       -- runs.key
    frame      VARCHAR NOT NULL,
    ordinal    INTEGER NOT NULL,       -- position among the frames of the run
    table_name VARCHAR NOT NULL,       -- where the rows are
    n_rows     BIGINT  NOT NULL,
    columns    VARCHAR NOT NULL        -- JSON, in order: name, stored column, SQL type, pandas type
);

-- Finished pieces of an unfinished run, so that an interrupted run resumes.
CREATE TABLE run_parts (
    run     VARCHAR NOT NULL,
    part    VARCHAR NOT NULL,
    columns VARCHAR NOT NULL,          -- JSON as in run_frames
    payload BLOB    NOT NULL,          -- Arrow IPC stream
    PRIMARY KEY (run, part)
);

-- One row a capture: stored activations of one model over many prompts.
CREATE TABLE captures (
    name     VARCHAR PRIMARY KEY,      -- also the folder under captures/
    model    VARCHAR NOT NULL,         -- models.key
    plan     VARCHAR NOT NULL,         -- JSON
    dtype    VARCHAR NOT NULL,         -- as stored: float32, float16 or bfloat16
    complete BOOLEAN NOT NULL,         -- false while writing, and after an interruption
    created  VARCHAR NOT NULL
);

-- Shard files. Each holds some whole prompts at every site of the capture.
CREATE TABLE shards (
    capture   VARCHAR NOT NULL,
    shard     INTEGER NOT NULL,        -- 0, 1, 2 … in the order of commits
    file      VARCHAR NOT NULL,        -- name inside the folder of the capture; empty when it keeps statistics only
    n_bytes   BIGINT  NOT NULL,        -- size of the file
    first_row BIGINT  NOT NULL,        -- rows (tokens) of the capture before this shard
    n_rows    BIGINT  NOT NULL,
    PRIMARY KEY (capture, shard)
);

-- One site in one shard: a dense little-endian tensor [n_rows, shape…] at byte_offset of the file.
CREATE TABLE extents (
    capture     VARCHAR NOT NULL,
    shard       INTEGER NOT NULL,
    layer       INTEGER,               -- NULL for sites outside the layers, as the embedding
    site        VARCHAR NOT NULL,
    dtype       VARCHAR NOT NULL,
    n_rows      BIGINT  NOT NULL,
    shape       INTEGER[] NOT NULL,    -- of one row: [d_model], or [head, d_head]
    byte_offset BIGINT  NOT NULL,
    n_bytes     BIGINT  NOT NULL,      -- 0 when only statistics were kept
    checksum    VARCHAR NOT NULL,      -- KIND:HEX of those bytes, see data/vector_stats.py
    nan_count   BIGINT  NOT NULL,      -- elements, after the cast to dtype
    inf_count   BIGINT  NOT NULL
);

-- The prompts of a capture and where their rows lie.
CREATE TABLE prompts (
    capture  VARCHAR NOT NULL,
    prompt   INTEGER NOT NULL,         -- index given by whoever captured
    text     VARCHAR NOT NULL,
    shard    INTEGER NOT NULL,
    row_in_shard BIGINT NOT NULL,      -- of its first token
    n_tokens INTEGER NOT NULL,         -- tokens kept, which a selection of tokens makes fewer than the prompt has
    PRIMARY KEY (capture, prompt)
);

CREATE TABLE tokens (
    capture  VARCHAR NOT NULL,
    prompt   INTEGER NOT NULL,
    position INTEGER NOT NULL,         -- within the prompt, from 0
    token_id INTEGER NOT NULL,
    token    VARCHAR NOT NULL          -- its text, unchanged
);

-- Statistics of every stored vector, so that common questions never touch the shards.
CREATE TABLE token_scalars (
    capture  VARCHAR NOT NULL,
    prompt   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    layer    INTEGER,
    site     VARCHAR NOT NULL,
    norm     FLOAT   NOT NULL,         -- Euclidean; NaN when the vector holds one
    max_abs  FLOAT   NOT NULL,
    argmax   INTEGER NOT NULL,         -- channel of max_abs, in the flattened vector
    mean     FLOAT                     -- of its numbers; NULL in captures older than this column
);

-- Tokens of `tokens` that the model wrote itself while it was captured.
CREATE TABLE IF NOT EXISTS generated_tokens (
    capture  VARCHAR NOT NULL,
    prompt   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    step     INTEGER NOT NULL          -- 1 for the first new token
);

-- What every head did at every token kept, when a capture asked for its attention; positions are of the same prompt.
CREATE TABLE IF NOT EXISTS attention_scalars (
    capture  VARCHAR NOT NULL,
    prompt   INTEGER NOT NULL,
    position INTEGER NOT NULL,         -- of the token that looks
    layer    INTEGER NOT NULL,
    head     INTEGER NOT NULL,
    entropy  FLOAT   NOT NULL,         -- nats
    max_weight   FLOAT   NOT NULL,
    max_position INTEGER NOT NULL,     -- of the token with that weight
    sink_mass    FLOAT   NOT NULL,     -- weight on the first tokens, as many as the plan says
    recent_mass  FLOAT   NOT NULL,     -- weight on tokens nearer than the plan's window
    mean_distance      FLOAT NOT NULL, -- tokens back, mean under the weights
    distance_deviation FLOAT NOT NULL  -- and its standard deviation
);

-- The largest weights of every head at every token kept.
CREATE TABLE IF NOT EXISTS attention_top (
    capture  VARCHAR NOT NULL,
    prompt   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    layer    INTEGER NOT NULL,
    head     INTEGER NOT NULL,
    rank     INTEGER NOT NULL,         -- 0 is the largest
    source   INTEGER NOT NULL,         -- position looked at
    weight   FLOAT   NOT NULL
);
