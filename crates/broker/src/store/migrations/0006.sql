-- Tasks; of a task's token only its digest is kept.
CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    token {bytes} NOT NULL,
    creator TEXT NOT NULL,
    actor TEXT NOT NULL,
    status TEXT NOT NULL,
    tokens BIGINT NOT NULL,
    max_tokens BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    terms TEXT NOT NULL,
    forget_at BIGINT NOT NULL
) {clustered};
CREATE UNIQUE INDEX tasks_by_token ON tasks (token);
CREATE INDEX tasks_by_end ON tasks (forget_at);
-- An attempt has one place in its task's count for as long as its first token lives.
CREATE TABLE task_attempts (
    task TEXT NOT NULL,
    attempt TEXT NOT NULL,
    until BIGINT NOT NULL,
    forget_at BIGINT NOT NULL,
    PRIMARY KEY (task, attempt)
) {clustered};
CREATE INDEX task_attempts_by_end ON task_attempts (forget_at);
