-- Who follows, blocks and mutes whom.

-- Read from both ends by index alone: the primary key serves "does V follow A" and the stream of all
-- followers, the two indexes serve the lists, newest first.
CREATE TABLE follows (
    followee_id uuid NOT NULL REFERENCES users,
    follower_id uuid NOT NULL REFERENCES users,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (followee_id, follower_id),
    CONSTRAINT follows_another CHECK (follower_id <> followee_id)
);
CREATE INDEX follows_by_followee ON follows (followee_id, create_time, follower_id);
CREATE INDEX follows_by_follower ON follows (follower_id, create_time, followee_id);

CREATE TABLE blocks (
    blocker_id  uuid NOT NULL REFERENCES users,
    blocked_id  uuid NOT NULL REFERENCES users,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (blocker_id, blocked_id),
    CONSTRAINT blocks_another CHECK (blocker_id <> blocked_id)
);
CREATE INDEX blocks_by_blocker ON blocks (blocker_id, create_time, blocked_id);
CREATE INDEX blocks_by_blocked ON blocks (blocked_id, blocker_id);

CREATE TABLE mutes (
    muter_id    uuid NOT NULL REFERENCES users,
    muted_id    uuid NOT NULL REFERENCES users,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (muter_id, muted_id),
    CONSTRAINT mutes_another CHECK (muter_id <> muted_id)
);
CREATE INDEX mutes_by_muter ON mutes (muter_id, create_time, muted_id);
CREATE INDEX mutes_by_muted ON mutes (muted_id, muter_id);

-- Counts are exact at every moment: a person's row plus the deltas that wait to be folded into it.
-- A change takes the row if it is free and leaves a delta if it is not, so that nobody queues at a
-- famous person's row.
CREATE TABLE follow_counts (
    user_id         uuid PRIMARY KEY REFERENCES users,
    follower_count  bigint NOT NULL DEFAULT 0,
    following_count bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);

CREATE TABLE follow_count_deltas (
    delta_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         uuid NOT NULL REFERENCES follow_counts,
    follower_delta  bigint NOT NULL,
    following_delta bigint NOT NULL
);
CREATE INDEX follow_count_deltas_of_user ON follow_count_deltas (user_id);

CREATE FUNCTION add_follow_counts(who uuid, followers bigint, followings bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM follow_counts WHERE user_id = who FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE follow_counts
        SET follower_count = follower_count + followers, following_count = following_count + followings
        WHERE user_id = who;
    ELSE
        INSERT INTO follow_count_deltas (user_id, follower_delta, following_delta)
        VALUES (who, followers, followings);
    END IF;
END $$;

-- Every change of the graph first takes these two locks, until its transaction ends: who acts alone,
-- whom it is about shared. So nothing that one person does overlaps, a block and a follow of the same
-- two people never pass each other, deleting a person waits for follows under way, and yet any number
-- of people follow the same person at once. Always in the order of the keys: no deadlock.
CREATE FUNCTION lock_people(actor uuid, target uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    actor_key  bigint := uuid_hash_extended(actor, 0);
    target_key bigint := uuid_hash_extended(target, 0);
BEGIN
    IF actor_key <= target_key THEN
        PERFORM pg_advisory_xact_lock(actor_key);
        PERFORM pg_advisory_xact_lock_shared(target_key);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(target_key);
        PERFORM pg_advisory_xact_lock(actor_key);
    END IF;
END $$;

-- A person with exact counts, as everybody reads them.
CREATE VIEW people AS
SELECT users.user_id, username, email, display_name, bio, avatar_url, role, create_time,
    counts.follower_count + waiting.followers AS follower_count,
    counts.following_count + waiting.followings AS following_count
FROM users
JOIN follow_counts AS counts USING (user_id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(follower_delta), 0)::bigint AS followers,
        coalesce(sum(following_delta), 0)::bigint AS followings
    FROM follow_count_deltas AS deltas
    WHERE deltas.user_id = users.user_id
) AS waiting
WHERE delete_time IS NULL;
