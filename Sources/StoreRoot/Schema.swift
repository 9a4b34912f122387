// SPDX-License-Identifier: Apache-2.0

/// The layout of a store, as numbered migrations.
///
/// A number that was released is never changed: add the next one.
///
/// Times are nanoseconds since 1970. Digests are `sha256:<hex>`. Rows are the truth: a row appears after its data is on
/// disk and goes before its data is touched.
package enum Schema {
    /// The layout that this program reads and writes.
    package static let version = migrations.count

    /// Statement lists; the one at index n leads from layout n to n + 1.
    static let migrations: [String] = [
        """
        CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

        -- kind: image, init, container, plain. chain_id is set for image layers, diff_id where it is known.
        -- size: bytes of the unpacked layer's files. content: digest of the tree as the driver keeps it, see LayerStore.
        CREATE TABLE layers (
            id TEXT PRIMARY KEY,
            driver TEXT NOT NULL,
            parent TEXT,
            kind TEXT NOT NULL,
            chain_id TEXT,
            diff_id TEXT,
            sealed INTEGER NOT NULL,
            created INTEGER NOT NULL,
            size INTEGER NOT NULL DEFAULT 0,
            content TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX layers_by_chain ON layers (driver, chain_id) WHERE kind = 'image';
        CREATE UNIQUE INDEX layers_init ON layers (driver, coalesce(parent, '')) WHERE kind = 'init';
        CREATE INDEX layers_by_parent ON layers (parent) WHERE parent IS NOT NULL;

        CREATE TABLE blobs (
            digest TEXT PRIMARY KEY,
            size INTEGER NOT NULL,
            media_type TEXT NOT NULL,
            diff_id TEXT,
            created INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX blobs_by_diff_id ON blobs (diff_id) WHERE diff_id IS NOT NULL;

        -- id: digest of the config, whose bytes are kept as they came. parent: image it was committed from.
        CREATE TABLE images (
            id TEXT PRIMARY KEY,
            manifest_digest TEXT,
            parent TEXT,
            created INTEGER NOT NULL,
            added INTEGER NOT NULL,
            size INTEGER NOT NULL,
            config BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- position 0 is the base. blob: the stored form, where there is one.
        CREATE TABLE image_layers (
            image TEXT NOT NULL,
            position INTEGER NOT NULL,
            diff_id TEXT NOT NULL,
            chain_id TEXT NOT NULL,
            blob TEXT,
            size INTEGER,
            PRIMARY KEY (image, position)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX image_layers_by_chain ON image_layers (chain_id);

        -- name: normalised, `registry/path:tag` or `registry/path@digest`.
        CREATE TABLE image_references (
            name TEXT PRIMARY KEY,
            image TEXT NOT NULL,
            created INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX image_references_by_image ON image_references (image);

        -- status: created, running, paused, exited, dead. config: JSON text. command: program and arguments. exit_code: of the last run.
        CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            image TEXT NOT NULL,
            image_reference TEXT NOT NULL,
            driver TEXT NOT NULL,
            layer TEXT NOT NULL,
            created INTEGER NOT NULL,
            command TEXT NOT NULL DEFAULT '',
            config TEXT NOT NULL,
            status TEXT NOT NULL,
            exit_code INTEGER,
            error TEXT,
            started INTEGER,
            finished INTEGER,
            auto_remove INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX containers_by_image ON containers (image);
        CREATE INDEX containers_by_layer ON containers (layer);
        """,
        """
        -- Every writing command asks for those that run; by layer, only a repair does.
        CREATE INDEX containers_running ON containers (created) WHERE status = 'running';
        DROP INDEX containers_by_layer;
        """,
        """
        -- The configuration last: it is long, and whatever stands behind it in a row is read through it.
        CREATE TABLE reordered (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            image TEXT NOT NULL,
            image_reference TEXT NOT NULL,
            driver TEXT NOT NULL,
            layer TEXT NOT NULL,
            created INTEGER NOT NULL,
            status TEXT NOT NULL,
            exit_code INTEGER,
            started INTEGER,
            finished INTEGER,
            auto_remove INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            command TEXT NOT NULL DEFAULT '',
            config TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT INTO reordered (id, name, image, image_reference, driver, layer, created, status, exit_code, started,
            finished, auto_remove, error, command, config)
        SELECT id, name, image, image_reference, driver, layer, created, status, exit_code, started,
            finished, auto_remove, error, command, config FROM containers;
        DROP TABLE containers;
        ALTER TABLE reordered RENAME TO containers;
        CREATE INDEX containers_by_image ON containers (image);
        CREATE INDEX containers_running ON containers (created) WHERE status = 'running';
        """,
    ]
}
