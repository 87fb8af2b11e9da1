-- One row for each logged request; LOG.retentionDays says how long it stays.
CREATE TABLE IF NOT EXISTS request_logs (
  id TEXT PRIMARY KEY,
  timestamp TEXT NOT NULL,
  method TEXT NOT NULL,
  url TEXT NOT NULL,
  route TEXT,
  status INTEGER NOT NULL,
  latency REAL NOT NULL,
  client_ip TEXT,
  client_key TEXT,
  api_key TEXT,
  limit_reported INTEGER NOT NULL DEFAULT 0,
  backend TEXT,
  attempts INTEGER NOT NULL,
  user_agent TEXT,
  cache TEXT,
  outcome TEXT NOT NULL,
  reason TEXT,
  region TEXT NOT NULL
) WITHOUT ROWID;

-- Each index is one more row written for each request, so there is one: the time, by which pages and retention go.
CREATE INDEX IF NOT EXISTS request_logs_time ON request_logs (timestamp, id);
