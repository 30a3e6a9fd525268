-- difficult.sql: one database with an example of every kind of object that pg_dump dumps, and of values and names
-- that break programs which read dumps. Runs unchanged on PostgreSQL 13 to 18:
--     psql -X -d NEW_DATABASE -f difficult.sql          (as a superuser; a UTF8 database, best from template0)
-- Optional:  -v many_lo=2500    that many small large objects in addition (more than 1000 makes 17+ write two groups)
--            -v rows=100000     rows of the one big plain table (default 2000)
--            -v no_config_fk_rows=1  no rows in the referencing configuration table of the extension keepext (when it is there)
-- Roles are made when they are missing, so it runs in several databases of one cluster.
-- Before dropdb: drop the subscription (see the end).
\set ON_ERROR_STOP on
\set QUIET on
\set VERBOSITY default
\encoding UTF8
\o /dev/null
SET client_min_messages = error;
SET standard_conforming_strings = on;
SET search_path = pg_catalog;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET extra_float_digits = 3;

SELECT current_setting('server_version_num')::int AS v \gset
SELECT :v >= 150015 AS v15_15, :v >= 140000 AS v14, :v >= 150000 AS v15, :v >= 160000 AS v16, :v >= 170000 AS v17, :v >= 180000 AS v18 \gset
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'keepext') AS have_keepext,
       EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS have_icu,
       current_setting('session_preload_libraries') ~ 'keeplabel' AS have_label \gset
\if :{?rows}
\else
  \set rows 2000
\endif

-- ------------------------------------------------------------------------------------------------ roles
\set r1 'dump "owner" Ä 1'
\set r2 'dump o''two'
DO $do$
BEGIN
  IF to_regrole('"dump ""owner"" Ä 1"') IS NULL THEN CREATE ROLE "dump ""owner"" Ä 1" NOLOGIN; END IF;
  IF to_regrole('"dump o''two"') IS NULL THEN CREATE ROLE "dump o'two" NOLOGIN; END IF;
END $do$;

-- ------------------------------------------------------------------------------------------------ schemas
CREATE SCHEMA app AUTHORIZATION :"r1";
CREATE SCHEMA ext;                                           -- for extensions
CREATE SCHEMA types AUTHORIZATION :"r2";
CREATE SCHEMA part;
CREATE SCHEMA "we""ird Schéma %s \ $$ 'q';" AUTHORIZATION :"r2";
CREATE SCHEMA "two
lines";
CREATE SCHEMA empty_schema;
\if :v15
  ALTER SCHEMA public OWNER TO :"r1";    -- a SCHEMA entry that begins with «-- *not* creating»; pg_dump of 13 and 14 loses the owner of public
\endif
COMMENT ON SCHEMA public IS 'public, but ours';
COMMENT ON SCHEMA app IS E'with ''quotes'', a \\ backslash,\nand\ttwo lines';
COMMENT ON SCHEMA "two
lines" IS '';                                                -- an empty comment is no comment
GRANT USAGE ON SCHEMA app, part, types, ext TO PUBLIC;   -- foreign keys and views look things up as the owner of their table
GRANT ALL ON SCHEMA app TO :"r2" WITH GRANT OPTION;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"r2";

-- ------------------------------------------------------------------------------------------------ extensions
CREATE EXTENSION hstore WITH SCHEMA ext;
CREATE EXTENSION btree_gist WITH SCHEMA ext;
CREATE EXTENSION citext WITH SCHEMA ext;
CREATE EXTENSION pg_trgm WITH SCHEMA ext;
CREATE EXTENSION file_fdw WITH SCHEMA ext;
CREATE EXTENSION "uuid-ossp" WITH SCHEMA "we""ird Schéma %s \ $$ 'q';";
COMMENT ON EXTENSION citext IS 'our own words about it';
REVOKE EXECUTE ON FUNCTION ext.hstore_to_json(ext.hstore) FROM PUBLIC;   -- differs from pg_init_privs: an ACL of a member
GRANT EXECUTE ON FUNCTION ext.hstore_to_json(ext.hstore) TO :"r2";
\if :have_keepext
  CREATE EXTENSION keepext WITH SCHEMA ext;
  INSERT INTO ext.keep_parent VALUES (1001, 'user', 'kept'), (1002, 'user', E'kept\ttoo'), (1003, 'system', 'not kept: the condition');
  \if :{?no_config_fk_rows}
  \else
    INSERT INTO ext.a_keep_child VALUES (1, 1001), (2, 1002), (3, 1002);   -- pg_restore -j loads them before their parents now and then: no dependency in the TOC
  \endif
  INSERT INTO ext.keep_plain (note) VALUES ('never dumped');
  INSERT INTO ext.keep_serial (note) VALUES ('one'), ('two');
\endif

-- ------------------------------------------------------------------------------------------------ languages, access methods, casts
CREATE FUNCTION app.lang_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION app.lang_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION app.lang_validator(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE "pl Custom" HANDLER app.lang_handler INLINE app.lang_inline VALIDATOR app.lang_validator;
CREATE LANGUAGE plbare HANDLER app.lang_handler;
ALTER LANGUAGE "pl Custom" OWNER TO :"r1";
COMMENT ON LANGUAGE "pl Custom" IS 'plpgsql under another name';
REVOKE USAGE ON LANGUAGE "pl Custom" FROM PUBLIC;
GRANT USAGE ON LANGUAGE "pl Custom" TO :"r2" WITH GRANT OPTION;
REVOKE USAGE ON LANGUAGE sql FROM PUBLIC;                     -- ACL of a built-in object
GRANT USAGE ON LANGUAGE sql TO PUBLIC;                        -- and back: nothing to dump
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO :"r2"; -- ACL of a built-in function
GRANT SELECT (rolname) ON pg_catalog.pg_authid TO :"r2";      -- column ACL of a system table
CREATE FUNCTION app.in_custom(a int) RETURNS int LANGUAGE "pl Custom" AS $$ BEGIN RETURN a + 1; END $$;
CREATE ACCESS METHOD "gist Zwei" TYPE INDEX HANDLER gisthandler;
COMMENT ON ACCESS METHOD "gist Zwei" IS 'an index access method';
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
CREATE CAST (timestamptz AS interval) WITH FUNCTION pg_catalog.age(timestamptz) AS ASSIGNMENT;
COMMENT ON CAST (timestamptz AS interval) IS 'a cast between built-in types';
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION pg_catalog.prsd_lextype(internal), TO SQL WITH FUNCTION pg_catalog.int4recv(internal));
COMMENT ON TRANSFORM FOR int LANGUAGE sql IS 'a transform';
CREATE CONVERSION app."con v" FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION app.conv_default FOR 'LATIN2' TO 'UTF8' FROM iso8859_to_utf8;
ALTER CONVERSION app."con v" OWNER TO :"r2";
COMMENT ON CONVERSION app."con v" IS 'a conversion';

-- ------------------------------------------------------------------------------------------------ collations
CREATE COLLATION app.c_copy FROM "C";
CREATE COLLATION app."c Locale" (LOCALE = 'C');
CREATE COLLATION app.lc_two (LC_COLLATE = 'C', LC_CTYPE = 'POSIX');
ALTER COLLATION app.c_copy OWNER TO :"r1";
COMMENT ON COLLATION app.c_copy IS 'a copy of C';
\if :have_icu
  CREATE COLLATION app.nocase (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
  CREATE COLLATION app.german (PROVIDER = icu, LOCALE = 'de-u-co-phonebk');
\endif
\if :v16
  CREATE COLLATION app.icu_rules (PROVIDER = icu, LOCALE = 'und', RULES = '&V << w <<< W');
\endif
\if :v17
  CREATE COLLATION app.builtin (PROVIDER = builtin, LOCALE = 'C.UTF-8');
\endif

-- ------------------------------------------------------------------------------------------------ types
CREATE TYPE types.shell;                                      -- never defined
COMMENT ON TYPE types.shell IS 'a shell';
CREATE TYPE types.base;
CREATE FUNCTION types.base_in(cstring) RETURNS types.base LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4in';
CREATE FUNCTION types.base_out(types.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4out';
CREATE FUNCTION types.base_recv(internal) RETURNS types.base LANGUAGE internal IMMUTABLE STRICT AS 'int4recv';
CREATE FUNCTION types.base_send(types.base) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send';
CREATE TYPE types.base (INPUT = types.base_in, OUTPUT = types.base_out, RECEIVE = types.base_recv, SEND = types.base_send,
  LIKE = int4, CATEGORY = 'N', PREFERRED = false, DEFAULT = '42', DELIMITER = ';', COLLATABLE = false);
ALTER TYPE types.base OWNER TO :"r1";
COMMENT ON TYPE types.base IS 'a base type';
CREATE TYPE types.text_like;
CREATE FUNCTION types.text_like_in(cstring) RETURNS types.text_like LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION types.text_like_out(types.text_like) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE types.text_like (INPUT = types.text_like_in, OUTPUT = types.text_like_out, INTERNALLENGTH = VARIABLE, STORAGE = extended, COLLATABLE = true);
CREATE TYPE types.mood AS ENUM ('sad', 'ok', 'it''s "fine", really', 'häppy\', E'new\nline');
ALTER TYPE types.mood ADD VALUE 'first' BEFORE 'sad';
ALTER TYPE types.mood ADD VALUE 'between' AFTER 'sad';
ALTER TYPE types.mood ADD VALUE 'last';
ALTER TYPE types.mood RENAME VALUE 'ok' TO 'OK';
COMMENT ON TYPE types.mood IS 'an enum';
CREATE TYPE types.no_labels AS ENUM ();
CREATE TYPE types."Comp ""q""" AS ("a b" int, "c,d" text COLLATE app.c_copy, "e)f" types.mood, g numeric(10,2)[]);
COMMENT ON TYPE types."Comp ""q""" IS 'a composite';
COMMENT ON COLUMN types."Comp ""q"""."c,d" IS 'a column of a composite';
ALTER TYPE types."Comp ""q""" ADD ATTRIBUTE dropped int;
ALTER TYPE types."Comp ""q""" DROP ATTRIBUTE dropped;
CREATE TYPE types.no_columns AS ();
CREATE TYPE types.nested AS (c types."Comp ""q""", m types.mood[]);
CREATE FUNCTION types.diff(float8, float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
\if :v14
  CREATE TYPE types.frange AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = types.diff, MULTIRANGE_TYPE_NAME = types."f Multi");
\else
  CREATE TYPE types.frange AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = types.diff);
\endif
CREATE TYPE types.trange AS RANGE (SUBTYPE = text, COLLATION = "C");
CREATE TYPE types.canon_range;
CREATE FUNCTION types.canon(types.canon_range) RETURNS types.canon_range LANGUAGE internal IMMUTABLE STRICT AS 'int4range_canonical';
CREATE TYPE types.canon_range AS RANGE (SUBTYPE = int4, CANONICAL = types.canon);
COMMENT ON TYPE types.frange IS 'a range';
CREATE DOMAIN types.posint AS int DEFAULT 7 NOT NULL CONSTRAINT "is > 0" CHECK (VALUE > 0) CONSTRAINT small CHECK (VALUE < 1000000);
COMMENT ON DOMAIN types.posint IS 'a domain';
COMMENT ON CONSTRAINT "is > 0" ON DOMAIN types.posint IS 'a constraint of a domain';
CREATE DOMAIN types.posint2 AS types.posint CHECK (VALUE <> 13);
CREATE DOMAIN types.zip AS text COLLATE app.c_copy DEFAULT E'\\''' CHECK (VALUE ~ E'^[0-9\\\\'']*$');
ALTER DOMAIN types.zip ADD CONSTRAINT later CHECK (length(VALUE) < 100) NOT VALID;   -- a CHECK CONSTRAINT entry of its own
CREATE DOMAIN types.arr AS int[] CHECK (array_length(VALUE, 1) <= 5);
CREATE DOMAIN types.compdom AS types."Comp ""q""" CHECK ((VALUE)."a b" > 0);
CREATE DOMAIN types.selfref AS int;
CREATE FUNCTION types.selfref_ok(types.selfref) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1::int < 100';
ALTER DOMAIN types.selfref ADD CONSTRAINT loops CHECK (types.selfref_ok(VALUE));      -- a loop: CHECK CONSTRAINT entry
GRANT USAGE ON TYPE types.mood TO :"r1" WITH GRANT OPTION;
REVOKE USAGE ON TYPE types.mood FROM PUBLIC;
GRANT USAGE ON DOMAIN types.posint TO :"r1";
CREATE CAST (types.base AS int) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION types.mood_int(types.mood) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT CASE $1 WHEN 'sad' THEN 1 ELSE 2 END $$;
CREATE CAST (types.mood AS int) WITH FUNCTION types.mood_int(types.mood) AS ASSIGNMENT;
CREATE CAST (types.mood AS ext.citext) WITH INOUT;

-- ------------------------------------------------------------------------------------------------ functions
CREATE FUNCTION app.add(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE COST 3 AS 'SELECT $1 + $2';
CREATE FUNCTION app.add(a numeric, b numeric DEFAULT 1.50, VARIADIC rest numeric[] DEFAULT '{}') RETURNS numeric LANGUAGE sql STABLE AS 'SELECT a + b';
CREATE FUNCTION app.add(text, text DEFAULT E'it''s \\ \n') RETURNS text LANGUAGE sql AS $$ SELECT $1 || $2 $$;
ALTER FUNCTION app.add(int, int) OWNER TO :"r1";
COMMENT ON FUNCTION app.add(int, int) IS 'a function';
CREATE FUNCTION app."Fn ""q"" %" (IN "a b" int, OUT "c d" int, INOUT e text, OUT f types.mood) LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = 'app', "$user", pg_temp SET work_mem = '8MB' SET "my.var" = 'it''s "x"' AS $fn$
BEGIN -- $$ and $_$ and $fn_$ in the body
  "c d" := "a b"; e := E'\\.' || $$a 'quoted' $_$ one$$; f := 'first';
END $fn$;
CREATE FUNCTION app.rows(n int) RETURNS TABLE ("x y" int, z text) LANGUAGE plpgsql ROWS 17 AS $$
BEGIN RETURN QUERY SELECT i, i::text FROM pg_catalog.generate_series(1, n) i; END $$;
CREATE FUNCTION app.setof_int() RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'VALUES (1), (2)';
CREATE FUNCTION app.poly(anyelement, anycompatible, anycompatiblearray) RETURNS anyelement LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION app.win() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE AS 'window_row_number';
CREATE FUNCTION app.supported(anyarray) RETURNS SETOF anyelement LANGUAGE internal IMMUTABLE STRICT SUPPORT pg_catalog.array_unnest_support AS 'array_unnest';
CREATE FUNCTION app.with_transform(int) RETURNS int TRANSFORM FOR TYPE int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.crlf() RETURNS text LANGUAGE plpgsql AS E'BEGIN\r\n  RETURN ''a\\b'';\r\nEND';
CREATE FUNCTION app.depends(ext.hstore) RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION app.depends(ext.hstore) DEPENDS ON EXTENSION hstore;
CREATE PROCEDURE app.proc(a int, INOUT b text DEFAULT 'x') LANGUAGE plpgsql AS $$ BEGIN b := b || a; END $$;
COMMENT ON PROCEDURE app.proc(int, text) IS 'a procedure';
ALTER PROCEDURE app.proc(int, text) OWNER TO :"r2";
GRANT EXECUTE ON PROCEDURE app.proc(int, text) TO :"r1" WITH GRANT OPTION;
REVOKE ALL ON FUNCTION app."Fn ""q"" %"(int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.add(int, int) TO :"r2" WITH GRANT OPTION;
-- Grants by a role that is not the owner. Objects in a schema that the grantor owns: elsewhere pg_restore -j fails now and
-- then, because the grant can run before the grant of USAGE on its schema (see drift.sql).
CREATE FUNCTION types.granted(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
ALTER FUNCTION types.granted(int) OWNER TO :"r1";
GRANT EXECUTE ON FUNCTION types.granted(int) TO :"r2" WITH GRANT OPTION;
CREATE TABLE types.granted_t (a int, b int);
INSERT INTO types.granted_t VALUES (1, 2);
ALTER TABLE types.granted_t OWNER TO :"r1";
GRANT SELECT, UPDATE (b) ON types.granted_t TO :"r2" WITH GRANT OPTION;
SET ROLE :"r2";
GRANT EXECUTE ON FUNCTION types.granted(int) TO :"r1", PUBLIC;
GRANT SELECT, UPDATE (b) ON types.granted_t TO PUBLIC;
RESET ROLE;
CREATE FUNCTION app.trig() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$;
CREATE FUNCTION app.evt() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
\if :v14
  CREATE FUNCTION app.sql_body(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + b;
  CREATE FUNCTION app.sql_atomic(t text) RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT t; SELECT lower(t) AS l UNION ALL SELECT E'semi;colon\n\\' AS l; END;
  CREATE PROCEDURE app.proc_out(IN a int, OUT b int, OUT c text) LANGUAGE sql BEGIN ATOMIC SELECT a, a::text; END;
\endif

-- ------------------------------------------------------------------------------------------------ aggregates, operators, operator classes
CREATE AGGREGATE app.sum2(int) (SFUNC = int4pl, STYPE = int4, INITCOND = '0', PARALLEL = SAFE, COMBINEFUNC = int4pl, SORTOP = operator(pg_catalog.<));
CREATE AGGREGATE app.avg2(int4) (SFUNC = int4_avg_accum, STYPE = int8[], FINALFUNC = int8_avg, FINALFUNC_MODIFY = shareable, INITCOND = '{0,0}',
  MSFUNC = int4_avg_accum, MINVFUNC = int4_avg_accum_inv, MSTYPE = int8[], MFINALFUNC = int8_avg, MINITCOND = '{0,0}', SSPACE = 100);
CREATE AGGREGATE app."Pct %"(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE AGGREGATE app.hypo(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
CREATE FUNCTION app."fn
;\" () RETURNS text LANGUAGE sql AS E'SELECT 1::text; -- \n';
CREATE AGGREGATE app.star(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
ALTER AGGREGATE app.sum2(int) OWNER TO :"r1";
COMMENT ON AGGREGATE app.sum2(int) IS 'an aggregate';
GRANT EXECUTE ON FUNCTION app.sum2(int) TO :"r2";
CREATE FUNCTION app.mod5_eq(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 % 5 = $2 % 5';
CREATE FUNCTION app.mod5_ne(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 % 5 <> $2 % 5';
CREATE OPERATOR app.=== (FUNCTION = app.mod5_eq, LEFTARG = int, RIGHTARG = int, COMMUTATOR = OPERATOR(app.===), NEGATOR = OPERATOR(app.!==), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR app.!== (FUNCTION = app.mod5_ne, LEFTARG = int, RIGHTARG = int, COMMUTATOR = OPERATOR(app.!==), NEGATOR = OPERATOR(app.===), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE FUNCTION app.prefix(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -$1';
CREATE OPERATOR app.@#@ (FUNCTION = app.prefix, RIGHTARG = int);
CREATE OPERATOR app.%|% (FUNCTION = app.mod5_eq, LEFTARG = int, RIGHTARG = int, COMMUTATOR = OPERATOR(app.|%|));   -- a commutator that stays a shell
ALTER OPERATOR app.=== (int, int) OWNER TO :"r1";
COMMENT ON OPERATOR app.=== (int, int) IS 'an operator';
COMMENT ON OPERATOR app.@#@ (NONE, int) IS 'a prefix operator';
CREATE OPERATOR FAMILY app."Op Fam" USING btree;
ALTER OPERATOR FAMILY app."Op Fam" USING btree OWNER TO :"r1";
COMMENT ON OPERATOR FAMILY app."Op Fam" USING btree IS 'an operator family';
CREATE OPERATOR CLASS app.int8_ops FOR TYPE int8 USING btree FAMILY app."Op Fam" AS
  OPERATOR 1 < (int8, int8), OPERATOR 2 <= (int8, int8), OPERATOR 3 = (int8, int8), OPERATOR 4 >= (int8, int8), OPERATOR 5 > (int8, int8),
  FUNCTION 1 btint8cmp(int8, int8), FUNCTION 2 btint8sortsupport(internal), FUNCTION 4 btequalimage(oid);
ALTER OPERATOR FAMILY app."Op Fam" USING btree ADD OPERATOR 1 < (int8, int4), OPERATOR 3 = (int8, int4), FUNCTION 1 (int4, int4) btint4cmp(int4, int4);
CREATE OPERATOR CLASS app.empty_ops FOR TYPE int8 USING btree FAMILY app."Op Fam" AS STORAGE int8;
CREATE OPERATOR CLASS app.hash5 FOR TYPE int4 USING hash AS OPERATOR 1 =, FUNCTION 1 hashint4(int4), FUNCTION 2 hashint4extended(int4, int8);
CREATE OPERATOR CLASS app.own_family DEFAULT FOR TYPE box USING "gist Zwei" AS
  OPERATOR 3 && (box, box), OPERATOR 7 @> (box, box), FUNCTION 1 gist_box_consistent(internal, box, int2, oid, internal), FUNCTION 2 gist_box_union(internal, internal),
  FUNCTION 5 gist_box_penalty(internal, internal, internal), FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal);
ALTER OPERATOR CLASS app.int8_ops USING btree OWNER TO :"r2";
COMMENT ON OPERATOR CLASS app.int8_ops USING btree IS 'an operator class';

-- ------------------------------------------------------------------------------------------------ text search
CREATE TEXT SEARCH PARSER app."ts Parser" (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE app.ts_tmpl (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY app."ts ""Dict""" (TEMPLATE = app.ts_tmpl, ACCEPT = false);
CREATE TEXT SEARCH DICTIONARY app.syn (TEMPLATE = snowball, LANGUAGE = german, STOPWORDS = german);
CREATE TEXT SEARCH CONFIGURATION app."ts Conf" (PARSER = app."ts Parser");
ALTER TEXT SEARCH CONFIGURATION app."ts Conf" ADD MAPPING FOR asciiword, word WITH app."ts ""Dict""", pg_catalog.simple;
ALTER TEXT SEARCH CONFIGURATION app."ts Conf" ADD MAPPING FOR email, url WITH app.syn;
CREATE TEXT SEARCH CONFIGURATION app.copied (COPY = pg_catalog.german);
ALTER TEXT SEARCH DICTIONARY app."ts ""Dict""" OWNER TO :"r1";
ALTER TEXT SEARCH CONFIGURATION app."ts Conf" OWNER TO :"r2";
COMMENT ON TEXT SEARCH PARSER app."ts Parser" IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE app.ts_tmpl IS 'a template';
COMMENT ON TEXT SEARCH DICTIONARY app."ts ""Dict""" IS 'a dictionary';
COMMENT ON TEXT SEARCH CONFIGURATION app."ts Conf" IS 'a configuration';

-- ------------------------------------------------------------------------------------------------ sequences
CREATE SEQUENCE app.seq_plain;
CREATE SEQUENCE app."Seq ""small"" %d" AS smallint START -7 INCREMENT -3 MINVALUE -32768 MAXVALUE -1 CYCLE CACHE 5;
CREATE SEQUENCE app.seq_int AS int MINVALUE 0 START 0;
CREATE SEQUENCE app.seq_edge AS bigint MINVALUE -9223372036854775808 MAXVALUE 9223372036854775807 START 9223372036854775806;
CREATE SEQUENCE app.seq_used;
CREATE SEQUENCE app.seq_set;
SELECT pg_catalog.nextval('app.seq_used'), pg_catalog.nextval('app.seq_used'), pg_catalog.nextval('app.seq_edge');
SELECT pg_catalog.setval('app.seq_set', 123456789012, false);
ALTER SEQUENCE app.seq_plain OWNER TO :"r1";
COMMENT ON SEQUENCE app.seq_plain IS 'a sequence';
GRANT USAGE, SELECT ON SEQUENCE app.seq_plain TO :"r2" WITH GRANT OPTION;
\if :v15
  CREATE UNLOGGED SEQUENCE app.seq_unlogged;
\endif

-- ------------------------------------------------------------------------------------------------ plain tables
CREATE TABLE app.big (id int PRIMARY KEY, k text NOT NULL, v numeric(12,3) DEFAULT 0.5, at timestamptz, note text);
INSERT INTO app.big SELECT i, md5(i::text), i / 7.0, '2024-01-01 00:00:00+00'::timestamptz + i * interval '1 minute', CASE WHEN i % 3 = 0 THEN NULL WHEN i % 3 = 1 THEN '' ELSE repeat(chr(97 + i % 26), i % 50) END FROM generate_series(1, :rows) i;
UPDATE app.big SET note = 'updated' WHERE id % 10 = 0;         -- rows out of their first order
DELETE FROM app.big WHERE id % 11 = 0;
ALTER TABLE app.big OWNER TO :"r1";
COMMENT ON TABLE app.big IS 'a table';
COMMENT ON COLUMN app.big.v IS E'a column\n-- not a comment; \\connect nowhere';
COMMENT ON CONSTRAINT big_pkey ON app.big IS 'a constraint';
GRANT SELECT, INSERT ON app.big TO :"r2" WITH GRANT OPTION;
GRANT UPDATE (v, note) ON app.big TO :"r2", PUBLIC;
GRANT REFERENCES (id) ON app.big TO :"r2" WITH GRANT OPTION;
REVOKE TRIGGER ON app.big FROM :"r1";
\if :v17
  GRANT MAINTAIN ON app.big TO :"r2";
\endif
ALTER TABLE app.big ALTER k SET STATISTICS 500, ALTER v SET (n_distinct = -0.5, n_distinct_inherited = 100), ALTER note SET STORAGE EXTERNAL, ALTER k SET STORAGE MAIN;
ALTER TABLE app.big SET (fillfactor = 70, autovacuum_enabled = false, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_enabled = false, parallel_workers = 2, toast_tuple_target = 1024);
CREATE UNLOGGED TABLE app.unlogged (a int, b text);
INSERT INTO app.unlogged VALUES (1, 'x'), (2, NULL);
CREATE TABLE app.zero ();
INSERT INTO app.zero DEFAULT VALUES; INSERT INTO app.zero DEFAULT VALUES; INSERT INTO app.zero DEFAULT VALUES; INSERT INTO app.zero DEFAULT VALUES; INSERT INTO app.zero DEFAULT VALUES;
CREATE TABLE app.zero_empty ();
CREATE TABLE app.all_dropped (a int, b int);
INSERT INTO app.all_dropped VALUES (1, 2), (3, 4);
ALTER TABLE app.all_dropped DROP COLUMN a, DROP COLUMN b;
CREATE TABLE app.dropped (a int, gone text, b text, gone2 int, c int DEFAULT 3);
INSERT INTO app.dropped VALUES (1, 'x', 'y', 2), (2, 'x', NULL, 2);
ALTER TABLE app.dropped DROP COLUMN gone, DROP COLUMN gone2;
ALTER TABLE app.dropped ADD COLUMN fast int DEFAULT 99 NOT NULL;          -- an atthasmissing column
INSERT INTO app.dropped VALUES (3, 'z', 4, 5);
CREATE TABLE app.one_text (t text);
INSERT INTO app.one_text VALUES (''), (NULL), ('\N'), ('\.'), ('NULL'), (' '), (E'\\'), (E'\n'), ('');
CREATE TABLE app.generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED, c text GENERATED ALWAYS AS ('#' || app.prefix(a)::text) STORED);
INSERT INTO app.generated (a) VALUES (1), (2), (NULL);
CREATE TABLE app.only_generated (b int GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO app.only_generated DEFAULT VALUES; INSERT INTO app.only_generated DEFAULT VALUES;
CREATE TABLE app.identity_always (id bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME app."Id ""q"" seq" START -5 INCREMENT -2 MINVALUE -100 MAXVALUE 50 CYCLE CACHE 3), t text);
INSERT INTO app.identity_always (t) VALUES ('a'), ('b');
INSERT INTO app.identity_always OVERRIDING SYSTEM VALUE VALUES (1000, 'c');
CREATE TABLE app.identity_default (t text, id smallint GENERATED BY DEFAULT AS IDENTITY (START 7 INCREMENT 7));
INSERT INTO app.identity_default (t) VALUES ('a'), ('b');
CREATE TABLE app.serials (a serial, b smallserial, c bigserial, d int DEFAULT nextval('app.seq_used'));
INSERT INTO app.serials (d) VALUES (DEFAULT), (DEFAULT);
CREATE SEQUENCE app.seq_owned OWNED BY app.serials.d;
ALTER TABLE app.serials ALTER a SET NOT NULL, ALTER b DROP DEFAULT;       -- an owned sequence without a default
CREATE TABLE app.typed OF types."Comp ""q""" ("a b" WITH OPTIONS PRIMARY KEY, "c,d" WITH OPTIONS DEFAULT 'd');
INSERT INTO app.typed VALUES (1, 'x', 'sad', '{1.5,NULL}');
CREATE TABLE app.in_heap2 (a int) USING heap2;
INSERT INTO app.in_heap2 VALUES (1);
DO $do$ BEGIN EXECUTE 'CREATE TABLE app.wide (' || (SELECT string_agg(format('c%s int DEFAULT %s', i, i), ', ') FROM generate_series(1, 400) i) || ')'; END $do$;
INSERT INTO app.wide DEFAULT VALUES;
-- a loop between a table and a function over its row type, through a default and through a CHECK
CREATE TABLE app.loop_default (a int, b int);
CREATE FUNCTION app.loop_fn(app.loop_default) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 5';
ALTER TABLE app.loop_default ALTER b SET DEFAULT app.loop_fn(NULL);
ALTER TABLE app.loop_default ADD CONSTRAINT loop_check CHECK (app.loop_fn(loop_default) = 5);
INSERT INTO app.loop_default (a) VALUES (1);
COMMENT ON CONSTRAINT loop_check ON app.loop_default IS 'a separate CHECK';

-- ------------------------------------------------------------------------------------------------ names
CREATE TABLE app."T (a) FROM stdin;" (a int, "b""b" text);
INSERT INTO app."T (a) FROM stdin;" VALUES (1, E'COPY app.x (a) FROM stdin;\n1\n\\.\n'), (2, '--');
CREATE TABLE app.odd_columns ("a) FROM stdin;" int, "select" text, "%s %d %n" text, "two
lines" text, "tab	here" text, "back\slash" text, "ü€😀" text, "dot.dot" text, """" text, "'" text, " " text, "COLUMN" text);
INSERT INTO app.odd_columns VALUES (1, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k');
CREATE TABLE "we""ird Schéma %s \ $$ 'q';"."Tab ""q"" %s \n 'x' $1" (id int PRIMARY KEY, t text);
INSERT INTO "we""ird Schéma %s \ $$ 'q';"."Tab ""q"" %s \n 'x' $1" VALUES (1, 'one');
CREATE TABLE "two
lines"."new
line; DROP TABLE app.big;
-- " ("a
b" int CONSTRAINT "chk
c" CHECK ("a
b" > 0));
INSERT INTO "two
lines"."new
line; DROP TABLE app.big;
-- " VALUES (1);
CREATE INDEX "idx
two" ON "two
lines"."new
line; DROP TABLE app.big;
-- " ("a
b");
COMMENT ON TABLE "two
lines"."new
line; DROP TABLE app.big;
-- " IS E'two\nlines';
CREATE TABLE app.abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0 (a int);   -- 63 bytes
CREATE TABLE app."äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüx" (a int, abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0 int);
INSERT INTO app.abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0 VALUES (1);
CREATE TABLE app."Big" (a int); CREATE TABLE app."BIG" (a int);                          -- differ from big in case only
INSERT INTO app."Big" VALUES (1); INSERT INTO app."BIG" VALUES (2);
CREATE TABLE app."select" ("from" int, "table" int);
INSERT INTO app."select" VALUES (1, 2);
CREATE TABLE app." leading and trailing " (" a " int);
INSERT INTO app." leading and trailing " VALUES (1);
CREATE TABLE app."../../etc/passwd" (a int);
CREATE TABLE app."a.b" (a int); CREATE SCHEMA a; CREATE TABLE a.b (a int);
CREATE TABLE app."\" (a int); CREATE TABLE app."%" (a int); CREATE TABLE app."*" (a int); CREATE TABLE app."ﬁ" (a int);
INSERT INTO app."\" VALUES (1); INSERT INTO app."%" VALUES (2); INSERT INTO app."*" VALUES (3); INSERT INTO app."ﬁ" VALUES (4);

-- ------------------------------------------------------------------------------------------------ values
CREATE TABLE types.everything (
  id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, n numeric, n2 numeric(20,5), f4 float4, f8 float8, m money, b bool, c "char", bp char(5), vc varchar(9), tx text, nm name, by bytea,
  d date, t time, tz timetz, ts timestamp, tsz timestamptz, ts0 timestamp(0), iv interval, ivy interval year to month, bi bit(5), vb bit varying(9), ine inet, cid cidr, mac macaddr, mac8 macaddr8,
  u uuid, js json, jb jsonb, jp jsonpath, xm xml, tv tsvector, tq tsquery, p point, l line, ls lseg, bx box, pa path, po polygon, ci circle, o oid, x xid, x8 xid8, cm cid, td tid, lsn pg_lsn, snap pg_snapshot, tsnap txid_snapshot,
  rc regclass, rp regproc, rpd regprocedure, ro regoper, rod regoperator, rt regtype, rr regrole, rn regnamespace, rcf regconfig, rd regdictionary, rco regcollation, ac aclitem, iv2 int2vector, ov oidvector, rcur refcursor,
  mo types.mood, co types."Comp ""q""", ne types.nested, dom types.posint DEFAULT 1, ba types.base, tl types.text_like, fr types.frange, ir int4range, nr numrange, dr daterange, tsr tsrange, tszr tstzrange, trr types.trange, cr types.canon_range, hs ext.hstore, cit ext.citext);
INSERT INTO types.everything (id) VALUES (0);                                            -- all NULL
INSERT INTO types.everything VALUES (1, -32768, -2147483648, -9223372036854775808, 'NaN', -0.00001, 'NaN', 'NaN', '-92233720368547758.08', true, '', '', '', '', '', '',
  'infinity', '00:00:00', '00:00:00+15:59', 'infinity', 'infinity', '1999-12-31 23:59:59.6', '-178000000 years', '-1 year -2 mons', B'00000', B'', '::', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00',
  '00000000-0000-0000-0000-000000000000', '{"a" : 1,  "a":2}', '{"b":[null,true,1e400],"a":"\u00e9\\\"\n"}', '$.a[*] ? (@ > 1)', '<a b="c">&lt;</a>', '''it''''s'':1A \\back:2B', '''a'' & !(''b'':*AB | ''c'') <2> ''d''', '(0,-0)', '{1,-1,0}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))', '<(0,0),Infinity>', 0, '0', '0', '0', '(0,0)', '0/0', '1:1:', '1:1:',
  'app.big', 'now', 'app.add(int,int)', 'app.@#@', 'app.===(int,int)', 'types.mood[]', '"dump ""owner"" Ä 1"', 'app', 'app."ts Conf"', 'app.syn', 'app.c_copy', '"dump o''two"=r*w/"dump ""owner"" Ä 1"', '', '', '',
  'first', '(1,"a ""quoted"", b\\","it''s ""fine"", really","{1.00,NULL,-3.50}")', '("(1,,,)","{sad,NULL}")', 1, '7', E'\\.', 'empty', 'empty', '(,)', '[,2024-01-01)', '(-infinity,infinity)', '["2024-01-01 00:00+00",]', '["","a,b")', '(1,5]', '"a b"=>"c\"d", e=>NULL', 'CaSe');
INSERT INTO types.everything VALUES (2, 32767, 2147483647, 9223372036854775807, 1e-100, 99999.99999, '-Infinity', '-Infinity', '92233720368547758.07', false, E'\\', 'a b', E'tab\there', E'a\tb\nc\r\nd\\e\bf\fg\vh', E'n"a''me\\', '\x00ff5c2e0a0d09',
  '4713-01-01 BC', '24:00:00', '24:00:00-15:59', '4713-01-01 00:00:00 BC', '0001-01-01 00:00:00+00 BC', '294276-12-31 23:59:59', '178000000 years 11 mons -31 days 23:59:59.999999', '9 years', B'11111', B'101', '192.168.0.1/24', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', E'"\\u0000 stays in json\\n"', '1.10', 'strict $."a b"."c\"d"', 'text only', '', '', '(Infinity,NaN)', '{0,-1,5}', '[(1e300,-1e300),(1e-300,0)]', '(Infinity,Infinity),(-Infinity,-Infinity)', '((0,0),(1e-10,1))', '((0,0))', '<(1,2),3>', 4294967295, '4294967295', '18446744073709551615', '4294967295', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '10:20:10,14,15', '10:20:10,14,15',
  'types."Comp ""q"""', 'pg_catalog.now', 'app."Fn ""q"" %"(int,text)', 'pg_catalog.||/', '@(NONE,float8)', 'pg_catalog."char"', 'pg_monitor', '"we""ird Schéma %s \ $$ ''q'';"', 'simple', 'simple', '"C"', '=X/"dump o''two"', '1 2 3', '4294967295 1', E'cur\\sor',
  'häppy\', '(-1,,,)', '(,)', 999999, '-2147483648', E'two\nlines', '[1.5,Infinity)', '[1,10)', '[1.1,NaN]', 'empty', '["2024-01-01 00:00:00","2024-01-01 00:00:00"]', '(,)', '(,"\"\\")', 'empty', '', E'\t');
INSERT INTO types.everything (id, f4, f8, n, tx, js) VALUES (3, '-0', '-0', '-0', E'\\.', '{}'), (4, 1.17549435e-38, 2.2250738585072014e-308, 12345678901234567890123456789.123456789012345678901234567890, E'a\n\\.\nb', '[]'), (5, 3.4028235e+38, 1.7976931348623157e+308, 0.1000, E'\\N', 'null'),
  (6, 0.1::float4, 0.1, 1000000000000000000000000000000, E'\x01\x02\x1f\x7f', '""'), (7, 5e-45, 5e-324, -1, U&'\FEFF\2028\0085\00A0\0301', '1'), (8, '1e10', 1e22, 0.00, '😀𝄞', '"😀"'), (9, NULL, 123456789.123456789, 1, repeat('\', 9), '{"\\":"\u005c"}');
UPDATE types.everything SET jb = '{}' WHERE id = 3;
DO $do$ BEGIN IF current_setting('server_version_num')::int >= 140000 THEN EXECUTE 'INSERT INTO types.everything (id, n) VALUES (20, ''Infinity''), (21, ''-Infinity'')'; END IF;
  IF current_setting('server_version_num')::int >= 170000 THEN EXECUTE 'INSERT INTO types.everything (id, iv) VALUES (22, ''infinity''), (23, ''-infinity'')'; END IF; END $do$;
CREATE TABLE types.arrays (id int, a int[], b text[], c types.mood[], d types."Comp ""q"""[], e types.posint[], f int4range[], g types.base[], h jsonb[], i bytea[], j timestamptz[], k box[], l types.arr, m xml[], n float8[][], o types.nested[], p "char"[], q ext.hstore[], r types.compdom);
INSERT INTO types.arrays VALUES (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '(1,,,)'),
  (2, '[0:1][-2:-1]={{1,2},{NULL,4}}', ARRAY['', 'NULL', NULL, 'a,b', '"', '\', '{', E'\n', ' '], '{first,"it''s \"fine\", really",NULL}', ARRAY[ROW(1, 'x"y', 'sad', '{1}')::types."Comp ""q"""], '{1,2}', '{empty,"[1,2)",NULL}', '{1;2}', ARRAY['{"a":"b\\c"}'::jsonb, 'null'], ARRAY['\x00'::bytea, '\x5c'], '{infinity,"2024-01-01 00:00:00+00"}', '{(1,1),(0,0);(2,2),(1,1)}', '{1,2,3}', ARRAY['<a/>'::xml], '{{NaN,-0},{Infinity,1e-300}}', NULL, ARRAY['\'::"char", '"', ','], ARRAY['a=>b'::ext.hstore], NULL);
INSERT INTO types.arrays (id) VALUES (3);
\if :v14
  CREATE TABLE types.multi (id int, a int4multirange, b types."f Multi", c tstzmultirange[], d nummultirange);
  INSERT INTO types.multi VALUES (1, '{}', '{}', '{}', '{}'), (2, '{[1,3),[5,9)}', '{[1.5,2),[3,Infinity)}', '{"{[2024-01-01 00:00+00,2024-02-01 00:00+00)}"}', '{(,)}'), (3, NULL, NULL, NULL, NULL);
\endif
CREATE TABLE types.toasted (id int PRIMARY KEY, plain text, compressible text, bin bytea, doc jsonb, arr int[]);
ALTER TABLE types.toasted ALTER plain SET STORAGE EXTERNAL;
\if :v14
  ALTER TABLE types.toasted ALTER compressible SET COMPRESSION lz4, ALTER bin SET COMPRESSION pglz;
\endif
INSERT INTO types.toasted SELECT 1, string_agg(md5(i::text), '' ORDER BY i), repeat('moonkeep ', 120000), decode(string_agg(md5((-i)::text), '' ORDER BY i), 'hex'), jsonb_agg(i), array_agg(i) FROM generate_series(1, 33000) i;
INSERT INTO types.toasted SELECT 2, repeat(E'\t\n\\', 350000), repeat(E'\n', 1000000), decode(repeat('00', 1000000), 'hex'), NULL, NULL;
INSERT INTO types.toasted SELECT 3, string_agg(chr(128 + i % 5000), '' ORDER BY i), '', '', 'null', '{}' FROM generate_series(1, 20000) i;
COMMENT ON COLUMN types.toasted.doc IS 'wide';

-- ------------------------------------------------------------------------------------------------ inheritance
CREATE TABLE app.parent (a int NOT NULL, b text DEFAULT 'p', CONSTRAINT pos CHECK (a > 0), CONSTRAINT mine CHECK (a < 1000) NO INHERIT);
CREATE TABLE app.child (c int, CHECK (c > 0)) INHERITS (app.parent);
CREATE TABLE app.other (x int, b text DEFAULT 'o');
CREATE TABLE app.grandchild (d date, b text DEFAULT 'g', a int) INHERITS (app.child, app.other);
CREATE TABLE app.adopted (gone int, a int NOT NULL, gone2 text, b text, z int, CONSTRAINT pos CHECK (a > 0));   -- (another column order than the parent's: see drift.sql)
ALTER TABLE app.adopted DROP COLUMN gone, DROP COLUMN gone2;
ALTER TABLE app.adopted INHERIT app.parent;
INSERT INTO app.parent VALUES (1, 'in the parent itself'), (2, NULL);
INSERT INTO app.child VALUES (3, 'in the child', 30);
INSERT INTO app.grandchild (a, b, c, x, d) VALUES (4, 'gc', 40, 400, '2024-02-29');
INSERT INTO app.adopted (z, b, a) VALUES (5, 'ad', 50);
ALTER TABLE app.child ALTER b SET DEFAULT 'c', ALTER a SET STATISTICS 10;
ALTER TABLE app.grandchild ALTER b DROP DEFAULT;
ALTER TABLE app.parent ADD CONSTRAINT unchecked CHECK (a <> 77) NOT VALID;
COMMENT ON CONSTRAINT unchecked ON app.parent IS 'not valid';

-- ------------------------------------------------------------------------------------------------ partitions
CREATE TABLE part.by_range (id int NOT NULL, at date NOT NULL, v text DEFAULT 'd', PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE part.r2023 PARTITION OF part.by_range FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE part.r2024 (gone int, v text, at date NOT NULL, id int NOT NULL, CONSTRAINT own CHECK (id < 1000000));   -- other order, a dropped column
ALTER TABLE part.r2024 DROP COLUMN gone;
ALTER TABLE part.by_range ATTACH PARTITION part.r2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE part.r_default PARTITION OF part.by_range DEFAULT PARTITION BY RANGE (id, at);
CREATE TABLE part."r_default ""x""" PARTITION OF part.r_default FOR VALUES FROM (MINVALUE, MINVALUE) TO (90, '2025-12-31');
CREATE TABLE part.r_default_rest PARTITION OF part.r_default (id DEFAULT 17, CONSTRAINT extra CHECK (v <> 'never')) DEFAULT;
INSERT INTO part.by_range SELECT i, '2023-07-01'::date + i * 20, CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN 'x' WHEN 2 THEN 'it''s' ELSE 'other' END FROM generate_series(1, 100) i;
CREATE INDEX by_range_v ON part.by_range (v);
CREATE INDEX r2024_own ON part.r2024 (lower(v));
ALTER INDEX part.r2024_v_idx RENAME TO "R2024 v";
COMMENT ON INDEX part.by_range_v IS 'an index of a partitioned table';
ALTER TABLE part.by_range OWNER TO :"r1"; ALTER TABLE part.r2024 OWNER TO :"r2";
CREATE TABLE part.by_list (k text COLLATE "C", n int) PARTITION BY LIST (lower(k));
CREATE TABLE part.l_a PARTITION OF part.by_list FOR VALUES IN ('a', 'b', 'it''s') WITH (fillfactor = 50);
CREATE TABLE part.l_null PARTITION OF part.by_list FOR VALUES IN (NULL);
CREATE TABLE part.l_rest PARTITION OF part.by_list DEFAULT;
INSERT INTO part.by_list VALUES ('A', 1), ('b', 2), (NULL, 3), ('zz', 4), ('', 5);
CREATE TABLE part.by_hash (a int, b text) PARTITION BY HASH (a, b);
CREATE TABLE part.h0 PARTITION OF part.by_hash FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE part.h1 PARTITION OF part.by_hash FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE part.h2 PARTITION OF part.by_hash FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO part.by_hash SELECT i, 't' || i FROM generate_series(1, 60) i;
-- hash on an enum: pg_dump loads it through the root, and rows land in other partitions after a restore
CREATE TABLE part."by ""enum""" (m types.mood, n int, note text) PARTITION BY HASH (m);
CREATE TABLE part.e0 PARTITION OF part."by ""enum""" FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part.e1 (note text, n int, m types.mood);
ALTER TABLE part."by ""enum""" ATTACH PARTITION part.e1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO part."by ""enum""" SELECT m, i, repeat(m::text, i) FROM unnest(enum_range(NULL::types.mood)) m, generate_series(1, 5) i;
-- sub-partitions below a hash on an enum
CREATE TABLE part.enum_deep (m types.mood, n int) PARTITION BY RANGE (n);
CREATE TABLE part.enum_deep_1 PARTITION OF part.enum_deep FOR VALUES FROM (0) TO (100) PARTITION BY HASH (m);
CREATE TABLE part.enum_deep_1a PARTITION OF part.enum_deep_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part.enum_deep_1b PARTITION OF part.enum_deep_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE part.enum_deep_2 PARTITION OF part.enum_deep FOR VALUES FROM (100) TO (200);
INSERT INTO part.enum_deep SELECT m, i FROM unnest(enum_range(NULL::types.mood)) m, generate_series(50, 150, 25) i;
CREATE TABLE part.no_partitions (a int) PARTITION BY RANGE (a);
CREATE INDEX no_partitions_a ON ONLY part.no_partitions (a);
CREATE TABLE part.invalid_index (a int) PARTITION BY RANGE (a);
CREATE TABLE part.invalid_index_1 PARTITION OF part.invalid_index FOR VALUES FROM (0) TO (10);
CREATE INDEX invalid_index_a ON ONLY part.invalid_index (a);                              -- stays invalid: not attached
CREATE TRIGGER part_trig AFTER INSERT OR UPDATE ON part.by_range FOR EACH ROW EXECUTE FUNCTION app.trig();
ALTER TABLE part.r2023 DISABLE TRIGGER part_trig;                                         -- differs from its parent's
\if :v17
  CREATE TABLE part.with_identity (id int GENERATED ALWAYS AS IDENTITY, k int) PARTITION BY RANGE (k);
  CREATE TABLE part.with_identity_1 PARTITION OF part.with_identity FOR VALUES FROM (0) TO (10);
  INSERT INTO part.with_identity (k) VALUES (1), (2);
\endif

-- ------------------------------------------------------------------------------------------------ constraints and indexes
CREATE TABLE app.ref_a (id int PRIMARY KEY, b_id int, self int, CONSTRAINT self_fk FOREIGN KEY (self) REFERENCES app.ref_a ON DELETE CASCADE ON UPDATE SET NULL);
CREATE TABLE app.ref_b (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a_id int REFERENCES app.ref_a DEFERRABLE INITIALLY DEFERRED, x int, y int, UNIQUE (x, y) DEFERRABLE);
CREATE TABLE app.ref_c (id int PRIMARY KEY, x int, y int, CONSTRAINT "uniq %" UNIQUE (x, y));
ALTER TABLE app.ref_a ADD CONSTRAINT circular FOREIGN KEY (b_id) REFERENCES app.ref_c (id) NOT VALID;
ALTER TABLE app.ref_c ADD COLUMN a_id int, ADD CONSTRAINT circular FOREIGN KEY (a_id) REFERENCES app.ref_a (id) DEFERRABLE;
INSERT INTO app.ref_a VALUES (1, NULL, NULL), (2, NULL, 1), (3, NULL, 3);
INSERT INTO app.ref_c VALUES (10, 1, 2, 1), (11, NULL, 2, 3);
UPDATE app.ref_a SET b_id = 10 WHERE id = 1;
INSERT INTO app.ref_b VALUES (1, 2, 5, 6);
CREATE TABLE part.referenced (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);   -- no further index: see drift.sql, deadlock
CREATE TABLE part.referenced_1 PARTITION OF part.referenced FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE part.referenced_2 PARTITION OF part.referenced DEFAULT PARTITION BY HASH (id);
CREATE TABLE part.referenced_2a PARTITION OF part.referenced_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO part.referenced VALUES (1, '2024-02-03'), (2, '2030-01-01');
CREATE TABLE app.refs (x int, y int, at date, id int, CONSTRAINT mfull FOREIGN KEY (x, y) REFERENCES app.ref_c (x, y) MATCH FULL ON DELETE SET DEFAULT, CONSTRAINT to_part FOREIGN KEY (id, at) REFERENCES part.referenced (id, at) ON DELETE CASCADE);
INSERT INTO app.refs VALUES (1, 2, '2024-02-03', 1), (NULL, NULL, NULL, NULL);
CREATE TABLE part.referencing (a int REFERENCES app.ref_a, k int) PARTITION BY LIST (k);
CREATE TABLE part.referencing_1 PARTITION OF part.referencing FOR VALUES IN (1);
INSERT INTO part.referencing VALUES (1, 1), (NULL, 1);
COMMENT ON CONSTRAINT circular ON app.ref_a IS 'a foreign key';
\if :v15
  ALTER TABLE app.refs ADD CONSTRAINT set_null_cols FOREIGN KEY (x, id) REFERENCES app.ref_c (x, y) ON DELETE SET NULL (x) NOT VALID;
  CREATE TABLE app.nulls_nd (a int, b int, CONSTRAINT nnd UNIQUE NULLS NOT DISTINCT (a, b));
  CREATE UNIQUE INDEX nnd_idx ON app.nulls_nd (b) INCLUDE (a) NULLS NOT DISTINCT;
  INSERT INTO app.nulls_nd VALUES (1, NULL);
\endif
CREATE TABLE app.excl (room int, during tstzrange, why text, EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (why <> 'free') DEFERRABLE INITIALLY DEFERRED);
INSERT INTO app.excl VALUES (1, '[2024-01-01 00:00+00,2024-01-02 00:00+00)', 'a'), (1, '[2024-01-02 00:00+00,2024-01-03 00:00+00)', 'b');
CREATE TABLE app.indexed (id int NOT NULL, t text, j jsonb, p point, r int4range, ip inet, h ext.hstore, tv tsvector, arr int[], b bool);
INSERT INTO app.indexed SELECT i, 'T' || i, jsonb_build_object('k', i), point(i, -i), int4range(i, i + 5), '10.0.0.1'::inet + i, NULL, to_tsvector('simple', 'w' || i), ARRAY[i, i + 1], i % 2 = 0 FROM generate_series(1, 200) i;
ALTER TABLE app.indexed ADD CONSTRAINT indexed_pk PRIMARY KEY (id) INCLUDE (t) WITH (fillfactor = 60);
CREATE UNIQUE INDEX "Ix ""expr"" %" ON app.indexed (lower(t) COLLATE "C" text_pattern_ops DESC NULLS LAST, (id + 1)) WHERE b IS NOT FALSE AND t <> 'it''s';
CREATE INDEX ix_gin ON app.indexed USING gin (j jsonb_path_ops, arr) WITH (fastupdate = off);
CREATE INDEX ix_gist ON app.indexed USING gist (p, r, tv tsvector_ops (siglen = 100)) WITH (buffering = on);
CREATE INDEX ix_brin ON app.indexed USING brin (id int4_minmax_ops, t) WITH (pages_per_range = 4, autosummarize = on);
CREATE INDEX ix_hash ON app.indexed USING hash (t);
CREATE INDEX ix_spgist ON app.indexed USING spgist (ip inet_ops);
CREATE INDEX ix_trgm ON app.indexed USING gin (t ext.gin_trgm_ops);
CREATE INDEX ix_zwei ON app.indexed USING "gist Zwei" (box(p, p));
CREATE INDEX ix_stat ON app.indexed ((id * 2), (t || 'x'));
ALTER INDEX app.ix_stat ALTER COLUMN 1 SET STATISTICS 400;
ALTER INDEX app.ix_stat ALTER COLUMN 2 SET STATISTICS 0;
CREATE UNIQUE INDEX ix_unique ON app.indexed (id, r);
ALTER TABLE app.indexed CLUSTER ON "indexed_pk";
ALTER INDEX app.ix_gin DEPENDS ON EXTENSION pg_trgm;
COMMENT ON INDEX app.ix_gin IS 'an index';
CREATE TABLE app.replident (a int NOT NULL, b int NOT NULL);
CREATE UNIQUE INDEX replident_ix ON app.replident (b);
ALTER TABLE app.replident REPLICA IDENTITY USING INDEX replident_ix;
ALTER TABLE app.one_text REPLICA IDENTITY FULL;
ALTER TABLE app.zero REPLICA IDENTITY NOTHING;
CREATE TABLE app.using_index (a int NOT NULL, b int);
CREATE UNIQUE INDEX using_index_ix ON app.using_index (b) WITH (fillfactor = 80);
ALTER TABLE app.using_index ADD CONSTRAINT named_by_us UNIQUE USING INDEX using_index_ix;
CREATE STATISTICS app."Stat ""q""" (ndistinct, dependencies) ON id, t FROM app.indexed;
CREATE STATISTICS app.stat_mcv (mcv) ON b, id FROM app.indexed;
ALTER STATISTICS app.stat_mcv SET STATISTICS 77;
ALTER STATISTICS app."Stat ""q""" OWNER TO :"r1";
COMMENT ON STATISTICS app.stat_mcv IS 'statistics';
\if :v14
  CREATE INDEX ix_spgist2 ON app.indexed USING spgist (ip inet_ops) INCLUDE (b);
  CREATE STATISTICS app.stat_expr ON lower(t), (id % 3) FROM app.indexed;
\endif
\if :have_icu
  CREATE TABLE app.nocase_t (t text COLLATE app.nocase PRIMARY KEY);
  INSERT INTO app.nocase_t VALUES ('A'), ('b');
\endif
\if :v18
  CREATE TABLE app.v18 (a int CONSTRAINT a_nn NOT NULL NO INHERIT, b int CONSTRAINT "b nn" NOT NULL, c int, d int GENERATED ALWAYS AS (a + b) VIRTUAL, e int GENERATED ALWAYS AS (a * b) STORED);
  INSERT INTO app.v18 VALUES (1, 2, 3), (4, 5, NULL);
  ALTER TABLE app.v18 ADD CONSTRAINT c_nn NOT NULL c NOT VALID;                             -- desc CONSTRAINT without an index
  ALTER TABLE app.v18 ADD CONSTRAINT not_enforced CHECK (a > 100) NOT ENFORCED;
  COMMENT ON CONSTRAINT c_nn ON app.v18 IS 'a NOT NULL that is not valid';
  COMMENT ON CONSTRAINT "b nn" ON app.v18 IS 'a NOT NULL';
  CREATE TABLE app.v18_fk (a int, CONSTRAINT fk_ne FOREIGN KEY (a) REFERENCES app.ref_a NOT ENFORCED);
  INSERT INTO app.v18_fk VALUES (4711);
  CREATE TABLE app.temporal (id int4range, valid tstzrange, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
  CREATE TABLE app.temporal_ref (id int4range, valid tstzrange, FOREIGN KEY (id, PERIOD valid) REFERENCES app.temporal (id, PERIOD valid));
  INSERT INTO app.temporal VALUES ('[1,2)', '[2024-01-01 00:00+00,2025-01-01 00:00+00)');
  INSERT INTO app.temporal_ref VALUES ('[1,2)', '[2024-02-01 00:00+00,2024-03-01 00:00+00)');
  CREATE DOMAIN types.named_nn AS int CONSTRAINT dom_nn NOT NULL;
  COMMENT ON CONSTRAINT dom_nn ON DOMAIN types.named_nn IS 'a NOT NULL of a domain';
\endif

-- ------------------------------------------------------------------------------------------------ triggers, rules, policies
CREATE TABLE app.trig_t (a int, b text);
INSERT INTO app.trig_t VALUES (1, 'x');
CREATE TRIGGER "Trig ""q""" BEFORE INSERT OR UPDATE OF b ON app.trig_t FOR EACH ROW WHEN (NEW.a > 10 AND NEW.b <> 'it''s') EXECUTE FUNCTION app.trig('arg ''1''', E'back\\slash', E'two\nlines', 'ü');
CREATE TRIGGER stmt AFTER DELETE ON app.trig_t REFERENCING OLD TABLE AS "old rows" FOR EACH STATEMENT EXECUTE FUNCTION app.trig();
CREATE TRIGGER trunc BEFORE TRUNCATE ON app.trig_t EXECUTE FUNCTION app.trig();
CREATE TRIGGER off AFTER INSERT ON app.trig_t FOR EACH ROW EXECUTE FUNCTION app.trig();
CREATE TRIGGER repl AFTER INSERT ON app.trig_t FOR EACH ROW EXECUTE FUNCTION app.trig();
CREATE TRIGGER always AFTER INSERT ON app.trig_t FOR EACH ROW EXECUTE FUNCTION app.trig();
CREATE CONSTRAINT TRIGGER con_trig AFTER INSERT ON app.trig_t FROM app.big DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.trig();
ALTER TABLE app.trig_t DISABLE TRIGGER off, ENABLE REPLICA TRIGGER repl, ENABLE ALWAYS TRIGGER always;
ALTER TRIGGER stmt ON app.trig_t DEPENDS ON EXTENSION hstore;
COMMENT ON TRIGGER stmt ON app.trig_t IS 'a trigger';
CREATE RULE "r ins" AS ON INSERT TO app.trig_t WHERE NEW.a = 666 DO INSTEAD NOTHING;
CREATE RULE also AS ON UPDATE TO app.trig_t DO ALSO (INSERT INTO app.unlogged VALUES (NEW.a, 'a;b'); DELETE FROM app.unlogged WHERE a = -1);
ALTER TABLE app.trig_t DISABLE RULE also;
COMMENT ON RULE also ON app.trig_t IS 'a rule';
CREATE TABLE app.rls (id int, owner name DEFAULT current_user, t text);
INSERT INTO app.rls VALUES (1, 'a', 'visible'), (2, 'b', 'hidden');
ALTER TABLE app.rls OWNER TO :"r1";
ALTER TABLE app.rls ENABLE ROW LEVEL SECURITY; ALTER TABLE app.rls FORCE ROW LEVEL SECURITY;
CREATE POLICY "pol ""all""" ON app.rls USING (owner = current_user) WITH CHECK (id > 0 AND t <> E'\\''');
CREATE POLICY sel ON app.rls AS RESTRICTIVE FOR SELECT TO :"r1", :"r2" USING (id < 100);
CREATE POLICY ins ON app.rls FOR INSERT TO PUBLIC WITH CHECK (true);
CREATE POLICY upd ON app.rls FOR UPDATE TO :"r2" USING (EXISTS (SELECT FROM app.big b WHERE b.id = rls.id));
CREATE POLICY del ON app.rls FOR DELETE USING (false);
COMMENT ON POLICY sel ON app.rls IS 'a policy';
CREATE TABLE app.rls_no_policy (a int);
INSERT INTO app.rls_no_policy VALUES (1);
ALTER TABLE app.rls_no_policy ENABLE ROW LEVEL SECURITY;

-- ------------------------------------------------------------------------------------------------ views
CREATE VIEW app.v_plain AS SELECT id, k AS "Key ""k""", v FROM app.big WHERE id < 10;
ALTER VIEW app.v_plain OWNER TO :"r2";
COMMENT ON VIEW app.v_plain IS 'a view';
COMMENT ON COLUMN app.v_plain.v IS 'a column of a view';
CREATE VIEW app.v_check WITH (security_barrier = true) AS SELECT a, b FROM app.trig_t WHERE a < 100 WITH LOCAL CHECK OPTION;
CREATE VIEW app.v_check2 AS SELECT a, b FROM app.v_check WHERE a > 0 WITH CASCADED CHECK OPTION;
CREATE RECURSIVE VIEW app.v_rec (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v_rec WHERE n < 5;
CREATE VIEW app.v_pk AS SELECT b.id, b.k, count(*) FROM app.big b GROUP BY b.id;           -- needs the primary key: split in two
CREATE VIEW app.v_zero AS SELECT;
CREATE VIEW app.v_default AS SELECT a, b FROM app.trig_t;
ALTER VIEW app.v_default ALTER COLUMN b SET DEFAULT 'from the view';
CREATE RULE v_ins AS ON INSERT TO app.v_default DO INSTEAD INSERT INTO app.trig_t VALUES (NEW.a, NEW.b) RETURNING a, b;
CREATE TRIGGER v_instead INSTEAD OF UPDATE ON app.v_default FOR EACH ROW EXECUTE FUNCTION app.trig();
CREATE VIEW app."V (a) AS SELECT;" AS SELECT E'semi;\n\\.' AS "a;b", '$$' AS d;
GRANT SELECT ON app.v_plain TO :"r1"; GRANT SELECT (id) ON app.v_plain TO PUBLIC;
\if :v15
  CREATE VIEW app.v_invoker WITH (security_invoker = true) AS SELECT a FROM app.trig_t;
\endif
CREATE VIEW app.cyc1 AS SELECT 1 AS a, 'x'::text AS b;                                     -- cyclic views
CREATE VIEW app.cyc2 AS SELECT a, b FROM app.cyc1;
CREATE VIEW app.cyc3 AS SELECT a, b FROM app.cyc2;
CREATE OR REPLACE VIEW app.cyc1 AS SELECT a, b FROM app.cyc3;
CREATE FUNCTION app.view_fn() RETURNS SETOF app.v_plain LANGUAGE sql STABLE AS 'SELECT * FROM app.v_plain';
CREATE VIEW app.v_fn AS SELECT * FROM app.view_fn();
CREATE MATERIALIZED VIEW app.mv_c AS SELECT id % 10 AS g, count(*) AS n, sum(v) AS s FROM app.big GROUP BY 1 ORDER BY 1;
CREATE MATERIALIZED VIEW app.mv_a AS SELECT g, n FROM app.mv_c WHERE g > 3 ORDER BY g;     -- sorts before what it depends on
CREATE MATERIALIZED VIEW app."mv ""none""" AS SELECT g FROM app.mv_a WITH NO DATA;
CREATE MATERIALIZED VIEW app.mv_on_unpopulated AS SELECT g FROM app."mv ""none""" WITH NO DATA;
CREATE MATERIALIZED VIEW app.mv_pk AS SELECT b.id, b.k FROM app.big b GROUP BY b.id ORDER BY b.id;   -- goes to post-data
CREATE UNIQUE INDEX mv_c_g ON app.mv_c (g);
ALTER MATERIALIZED VIEW app.mv_c CLUSTER ON mv_c_g;
ALTER MATERIALIZED VIEW app.mv_c SET (fillfactor = 90);
ALTER MATERIALIZED VIEW app.mv_c ALTER s SET STATISTICS 5;
COMMENT ON MATERIALIZED VIEW app.mv_c IS 'a materialized view';
GRANT SELECT ON app.mv_c TO :"r2";
\if :v14
  CREATE FUNCTION app.body_needs_pk() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT b.k FROM app.big b GROUP BY b.id; END;   -- a FUNCTION in post-data
  CREATE FUNCTION app.body_on_view() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM app.v_pk; END;
\endif

-- ------------------------------------------------------------------------------------------------ foreign data
-- a wrapper without a handler: SELECT from its tables, and ANALYZE of the whole database, say «has no handler»
CREATE FOREIGN DATA WRAPPER "fdw ""q""" OPTIONS (debug 'it''s', "opt ion" 'ü');
CREATE SERVER "srv 'q'" TYPE 'ty''pe' VERSION '1.0' FOREIGN DATA WRAPPER "fdw ""q""" OPTIONS (host 'h;ost', dbname E'back\\slash');
CREATE USER MAPPING FOR PUBLIC SERVER "srv 'q'" OPTIONS ("user" 'x', password 'p''w');
CREATE USER MAPPING FOR :"r1" SERVER "srv 'q'" OPTIONS (a 'b');
CREATE FOREIGN TABLE app."ft ""q""" (a int OPTIONS (column_name 'A "x"') NOT NULL, b text DEFAULT 'x', CHECK (a > 0)) SERVER "srv 'q'" OPTIONS (table_name 'o''ne');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE app.ft_file (line text) SERVER files OPTIONS (program 'printf "1\n2\n"', format 'text');
CREATE TABLE part.with_foreign (a int, b text) PARTITION BY RANGE (a);
CREATE FOREIGN TABLE part.foreign_1 PARTITION OF part.with_foreign FOR VALUES FROM (0) TO (10) SERVER files OPTIONS (program 'printf "1\tforeign\n"', format 'text');
CREATE TABLE part.local_2 PARTITION OF part.with_foreign FOR VALUES FROM (10) TO (20);
INSERT INTO part.local_2 VALUES (11, 'local');
ALTER FOREIGN TABLE app."ft ""q""" OWNER TO :"r2";
COMMENT ON FOREIGN DATA WRAPPER "fdw ""q""" IS 'a wrapper'; COMMENT ON SERVER "srv 'q'" IS 'a server'; COMMENT ON FOREIGN TABLE app."ft ""q""" IS 'a foreign table'; COMMENT ON COLUMN app."ft ""q""".a IS 'its column';
GRANT USAGE ON FOREIGN DATA WRAPPER "fdw ""q""" TO :"r1" WITH GRANT OPTION;
GRANT USAGE ON FOREIGN SERVER "srv 'q'" TO :"r2";
ALTER SERVER files OWNER TO CURRENT_USER;
CREATE TRIGGER ft_trig AFTER INSERT ON app."ft ""q""" FOR EACH STATEMENT EXECUTE FUNCTION app.trig();

-- ------------------------------------------------------------------------------------------------ large objects
SELECT lo_create(900001);                                                                 -- empty
SELECT lo_create(900002); SELECT lo_put(900002, 100000, '\x616263'); SELECT lo_put(900002, 0, '\x00ff'); SELECT lo_put(900002, 300001, '\x5c');   -- with holes
SELECT lo_from_bytea(900003, decode(string_agg(md5(i::text), '' ORDER BY i), 'hex')) FROM generate_series(1, 196608) i;   -- 3 MB
SELECT lo_from_bytea(900004, '\x5c2e0a'), lo_from_bytea(900005, '\x27'), lo_from_bytea(4294967290, '\x6d6178');
ALTER LARGE OBJECT 900003 OWNER TO :"r1"; ALTER LARGE OBJECT 900004 OWNER TO :"r2"; ALTER LARGE OBJECT 900005 OWNER TO :"r2";
COMMENT ON LARGE OBJECT 900003 IS E'three ''MB''\n\\.';
GRANT SELECT, UPDATE ON LARGE OBJECT 900003 TO :"r2" WITH GRANT OPTION;
GRANT SELECT ON LARGE OBJECT 900001 TO PUBLIC;
GRANT SELECT ON LARGE OBJECT 900002, 4294967290 TO :"r2";                                   -- one entry for both, from 17 on
\if :{?many_lo}
  SELECT lo_from_bytea((910000 + i)::oid, convert_to('lo ' || i, 'UTF8')) FROM generate_series(1, :many_lo) i;
\endif

-- ------------------------------------------------------------------------------------------------ security labels (keeplabel.c)
\if :have_label
  SECURITY LABEL FOR keep ON SCHEMA app IS 'schema''s label';
  SECURITY LABEL FOR keep ON TABLE app.big IS E'table\nlabel \\';
  SECURITY LABEL FOR keep ON COLUMN app.big.v IS 'column';
  SECURITY LABEL FOR keep ON VIEW app.v_plain IS 'view';
  SECURITY LABEL FOR keep ON MATERIALIZED VIEW app.mv_c IS 'materialized view';
  SECURITY LABEL FOR keep ON SEQUENCE app.seq_plain IS 'sequence';
  SECURITY LABEL FOR keep ON FOREIGN TABLE app."ft ""q""" IS 'foreign table';
  SECURITY LABEL FOR keep ON TYPE types.mood IS 'type';
  SECURITY LABEL FOR keep ON DOMAIN types.posint IS 'domain';
  SECURITY LABEL FOR keep ON FUNCTION app.add(int, int) IS 'function';
  SECURITY LABEL FOR keep ON PROCEDURE app.proc(int, text) IS 'procedure';
  SECURITY LABEL FOR keep ON AGGREGATE app.sum2(int) IS 'aggregate';
  SECURITY LABEL FOR keep ON LANGUAGE "pl Custom" IS 'language';
  SECURITY LABEL FOR keep ON LARGE OBJECT 900003 IS 'large object';
  DO $do$ BEGIN EXECUTE format('SECURITY LABEL FOR keep ON DATABASE %I IS %L', current_database(), 'database'); END $do$;
\endif

-- ------------------------------------------------------------------------------------------------ default privileges, the database itself
ALTER DEFAULT PRIVILEGES FOR ROLE :"r1" IN SCHEMA app GRANT SELECT ON TABLES TO :"r2" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE :"r1" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"r2" REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"r2" IN SCHEMA "we""ird Schéma %s \ $$ 'q';" GRANT USAGE ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"r2" GRANT CREATE ON SCHEMAS TO :"r1";
\if :v18
  ALTER DEFAULT PRIVILEGES FOR ROLE :"r1" GRANT SELECT ON LARGE OBJECTS TO :"r2";
\endif
DO $do$
DECLARE db text := current_database();
BEGIN
  EXECUTE format('COMMENT ON DATABASE %I IS %L', db, E'a ''database''\nof two lines');
  EXECUTE format('ALTER DATABASE %I SET work_mem = %L', db, '5MB');
  EXECUTE format('ALTER DATABASE %I SET search_path = app, "$user", "we""ird Schéma %%s \ $$ ''q'';"', db);
  EXECUTE format('ALTER DATABASE %I SET "my.setting" = %L', db, E'it''s\\');
  EXECUTE format('ALTER ROLE %I IN DATABASE %I SET work_mem = %L', 'dump o''two', db, '6MB');
  EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO %I WITH GRANT OPTION', db, 'dump "owner" Ä 1');
  EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', db);
  EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 77', db);
END $do$;

-- ------------------------------------------------------------------------------------------------ publications, subscription, event triggers (last: they act on what comes after)
CREATE PUBLICATION "pub all" FOR ALL TABLES WITH (publish = 'insert, truncate');           -- no update/delete: tables without keys stay writable
CREATE PUBLICATION pub_tables FOR TABLE app.big, app.ref_a, ONLY app.parent WITH (publish = 'insert, update');
CREATE PUBLICATION pub_root FOR TABLE part.by_range WITH (publish_via_partition_root = true);
CREATE PUBLICATION pub_empty;
ALTER PUBLICATION pub_tables OWNER TO CURRENT_USER;
COMMENT ON PUBLICATION "pub all" IS 'a publication';
\if :v15
  CREATE PUBLICATION pub_rows FOR TABLE app.big (id, k, note) WHERE (id > 10 AND note IS DISTINCT FROM 'it''s'), TABLE app.ref_c (id, x);
  CREATE PUBLICATION pub_schema FOR TABLES IN SCHEMA app, "two
lines", TABLE part.by_list WITH (publish = 'insert');
\endif
CREATE SUBSCRIPTION "sub ""q""" CONNECTION 'host=nowhere.invalid dbname=''a b'' password=p''''w' PUBLICATION "pub all", pub_tables WITH (connect = false, enabled = false, slot_name = NONE, create_slot = false);
COMMENT ON SUBSCRIPTION "sub ""q""" IS 'a subscription';
CREATE EVENT TRIGGER "evt ""q""" ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'DROP VIEW') EXECUTE FUNCTION app.evt();
CREATE EVENT TRIGGER evt_off ON sql_drop EXECUTE FUNCTION app.evt();
ALTER EVENT TRIGGER evt_off DISABLE;
CREATE EVENT TRIGGER evt_always ON table_rewrite EXECUTE FUNCTION app.evt();
ALTER EVENT TRIGGER evt_always ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER evt_off IS 'an event trigger';
\if :v17
  CREATE EVENT TRIGGER evt_login ON login EXECUTE FUNCTION app.evt();
  ALTER EVENT TRIGGER evt_login DISABLE;
\endif
\if :have_label
  SECURITY LABEL FOR keep ON PUBLICATION pub_tables IS 'publication';
  \if :v15_15
    SECURITY LABEL FOR keep ON SUBSCRIPTION "sub ""q""" IS 'subscription';                   -- pg_dump lost these two until 2025-11 (15.15)
    SECURITY LABEL FOR keep ON EVENT TRIGGER evt_off IS 'event trigger';                     -- likewise
  \endif
\endif
-- dropdb says «being used by logical replication subscription» until:  DROP SUBSCRIPTION "sub ""q""";   (slot_name is NONE, nothing is contacted)
\o
