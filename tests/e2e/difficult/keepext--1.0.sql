\echo Use "CREATE EXTENSION keepext" to load this file. \quit
CREATE TABLE keep_parent (id int PRIMARY KEY, kind text NOT NULL, note text);
INSERT INTO keep_parent VALUES (1, 'system', 'made by the extension'), (2, 'system', 'also');
SELECT pg_catalog.pg_extension_config_dump('keep_parent', $$WHERE kind = 'user'$$);
CREATE TABLE a_keep_child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES keep_parent);   -- sorts before its parent
SELECT pg_catalog.pg_extension_config_dump('a_keep_child', '');
CREATE TABLE keep_plain (id serial, note text);                                                  -- no configuration: never dumped
CREATE TABLE keep_serial (id serial PRIMARY KEY, note text, twice int GENERATED ALWAYS AS (id * 2) STORED);
SELECT pg_catalog.pg_extension_config_dump('keep_serial', 'WHERE id > 0');
SELECT pg_catalog.pg_extension_config_dump('keep_serial_id_seq', '');
CREATE TABLE keep_empty (a int);
SELECT pg_catalog.pg_extension_config_dump('keep_empty', 'WHERE false');
