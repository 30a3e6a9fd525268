-- A realistic sample: a security-scanning product. Some 10^5 rows, foreign keys, indexes, jsonb,
-- a view, sequences, a partitioned table. The content is a function of the row number, so it is
-- the same every time.
BEGIN;

CREATE TYPE severity AS ENUM ('info', 'low', 'medium', 'high', 'critical');

CREATE TABLE users (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email      text NOT NULL UNIQUE,
    full_name  text NOT NULL,
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);

CREATE TABLE domains (
    id       serial PRIMARY KEY,
    name     text NOT NULL UNIQUE,
    owner_id bigint NOT NULL REFERENCES users (id),
    tags     text[] NOT NULL DEFAULT '{}'
);

CREATE TABLE scan_runs (
    id          bigserial PRIMARY KEY,
    domain_id   int NOT NULL REFERENCES domains (id),
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    status      text NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    stats       jsonb
);
CREATE INDEX scan_runs_domain_started ON scan_runs (domain_id, started_at DESC);

CREATE TABLE security_findings (
    id          bigserial PRIMARY KEY,
    scan_run_id bigint NOT NULL REFERENCES scan_runs (id) ON DELETE CASCADE,
    severity    severity NOT NULL,
    title       text NOT NULL,
    details     jsonb NOT NULL,
    score       numeric(4, 1) NOT NULL,
    fingerprint bytea NOT NULL,
    resolved    boolean NOT NULL DEFAULT false
);
CREATE INDEX security_findings_run ON security_findings (scan_run_id);
CREATE INDEX security_findings_open ON security_findings (severity) WHERE NOT resolved;
CREATE INDEX security_findings_details ON security_findings USING gin (details jsonb_path_ops);

CREATE TABLE audit_logs (
    id      bigint NOT NULL,
    user_id bigint NOT NULL,
    at      timestamptz NOT NULL,
    action  text NOT NULL,
    payload jsonb,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE TABLE audit_logs_2026_q1 PARTITION OF audit_logs
    FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-04-01 00:00+00');
CREATE TABLE audit_logs_2026_q2 PARTITION OF audit_logs
    FOR VALUES FROM ('2026-04-01 00:00+00') TO ('2026-07-01 00:00+00');
CREATE TABLE audit_logs_rest PARTITION OF audit_logs DEFAULT;
CREATE SEQUENCE audit_log_ids INCREMENT 10 START 1000;

INSERT INTO users (email, full_name, settings, created_at)
SELECT 'user' || i || '@example.com',
       (ARRAY['Ada', 'Björk', 'Çelik', 'Dmitri', '恵子'])[1 + i % 5] || ' ' || md5(i::text),
       jsonb_build_object('theme', CASE WHEN i % 2 = 0 THEN 'dark' ELSE 'light' END, 'n', i),
       timestamptz '2025-01-01 00:00+00' + i * interval '13 minutes'
FROM generate_series(1, 5000) AS i;

INSERT INTO domains (name, owner_id, tags)
SELECT 'host' || i || '.example.org', 1 + i % 5000, ARRAY['env:' || i % 3, 'team-' || i % 17]
FROM generate_series(1, 2000) AS i;

INSERT INTO scan_runs (domain_id, started_at, finished_at, status, stats)
SELECT 1 + i % 2000,
       timestamptz '2026-01-01 00:00+00' + i * interval '7 minutes',
       CASE WHEN i % 50 > 0 THEN timestamptz '2026-01-01 00:03+00' + i * interval '7 minutes' END,
       CASE WHEN i % 50 = 0 THEN 'running' WHEN i % 31 = 0 THEN 'failed' ELSE 'done' END,
       jsonb_build_object('urls', i % 977, 'ms', (i * 37) % 60000)
FROM generate_series(1, 20000) AS i;

INSERT INTO security_findings
    (scan_run_id, severity, title, details, score, fingerprint, resolved)
SELECT 1 + (i * 7) % 20000,
       (enum_range(NULL::severity))[1 + i % 5],
       'Finding ' || md5((i % 400)::text),
       jsonb_build_object('path', '/v1/' || md5(i::text), 'evidence',
                          jsonb_build_array(i, md5((i * 3)::text), NULL), 'cwe', 'CWE-' || i % 900),
       (i % 101) / 10.0,
       sha256(i::text::bytea),
       i % 3 = 0
FROM generate_series(1, 60000) AS i;

INSERT INTO audit_logs (id, user_id, at, action, payload)
SELECT nextval('audit_log_ids'), 1 + i % 5000,
       timestamptz '2026-01-15 00:00+00' + i * interval '5 minutes',
       (ARRAY['login', 'logout', 'scan.start', 'finding.resolve'])[1 + i % 4],
       CASE WHEN i % 4 > 0 THEN jsonb_build_object('ip', '10.0.' || i % 256 || '.7', 'seq', i) END
FROM generate_series(1, 60000) AS i;

CREATE VIEW open_critical AS
SELECT d.name, f.title, f.score
FROM security_findings f
JOIN scan_runs r ON r.id = f.scan_run_id
JOIN domains d ON d.id = r.domain_id
WHERE f.severity = 'critical' AND NOT f.resolved;

COMMENT ON VIEW open_critical IS 'What is worth a phone call';

COMMIT;
ANALYZE;
