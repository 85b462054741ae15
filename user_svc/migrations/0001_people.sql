-- People, how they log in, and their sessions.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TYPE user_role AS ENUM ('user', 'moderator', 'admin');

-- A deleted person leaves a row with nothing but id and times: ids are never given twice, and
-- deleting again can answer as the first time. `purge_time` is set once no edge is left.
CREATE TABLE users (
    user_id      uuid PRIMARY KEY,
    username     text COLLATE "C" UNIQUE,
    email        text COLLATE "C" UNIQUE,
    display_name text NOT NULL,
    bio          text NOT NULL,
    avatar_url   text NOT NULL,
    role         user_role NOT NULL,
    create_time  timestamptz NOT NULL,
    delete_time  timestamptz,
    purge_time   timestamptz,
    CONSTRAINT users_named_unless_deleted CHECK (
        (username IS NULL) = (delete_time IS NOT NULL) AND (email IS NULL) = (delete_time IS NOT NULL)
    )
);
CREATE INDEX users_by_role ON users (role, user_id) WHERE role <> 'user';
CREATE INDEX users_to_purge ON users (delete_time) WHERE delete_time IS NOT NULL AND purge_time IS NULL;

-- A search by how a display name begins (usernames have their own index), and by similarity.
CREATE INDEX users_by_display_name ON users (lower(display_name) COLLATE "C") WHERE delete_time IS NULL;
CREATE INDEX users_by_similarity ON users
    USING gin ((username || ' ' || lower(display_name)) gin_trgm_ops) WHERE delete_time IS NULL;

CREATE TABLE credentials (
    user_id       uuid PRIMARY KEY REFERENCES users,
    password_hash text NOT NULL
);

-- A session is a family of refresh tokens: the one that is good now, and the one before it.
CREATE TABLE sessions (
    session_id    uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users,
    family_hash   bytea NOT NULL,
    secret_hash   bytea NOT NULL,
    previous_hash bytea,
    rotation_salt bytea,
    create_time   timestamptz NOT NULL,
    rotate_time   timestamptz NOT NULL,
    expire_time   timestamptz NOT NULL,
    revoke_time   timestamptz
);
CREATE INDEX sessions_of_user ON sessions (user_id, rotate_time) WHERE revoke_time IS NULL;
CREATE INDEX sessions_by_revocation ON sessions (revoke_time) WHERE revoke_time IS NOT NULL;
CREATE INDEX sessions_by_expiry ON sessions (expire_time);
