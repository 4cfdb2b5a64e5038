"""Functions that lock a row and then read the clock: what they do is one statement for the caller, and runs as a whole
where the namespace's rows are.

Every function takes the namespace first. The plans are cached, because the application's connections plan every
statement again (force_custom_plan).
"""

from django.db import migrations

# Add to a session. The clock is read once, under the row's lock, so that the order of timestamps is the order of
# arrival. An expired session behaves as if deleted, whether or not the clean-up has run: adding to it starts a new,
# empty one. Two transactions may both find no row: then one of them inserts it and the other starts again.
ADD_INTERACTIONS_SQL = """
CREATE FUNCTION sessions_add_interactions(
    space bigint, session text, new_id uuid, added jsonb, own_ttl double precision, default_ttl double precision,
    most integer, OUT history_length integer, OUT oldest timestamptz
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    stored sessions_app_sessionmemory;
    arrival timestamptz;
    is_new boolean;
    kept jsonb;
BEGIN
    LOOP
        SELECT * INTO stored FROM sessions_app_sessionmemory
        WHERE namespace_id = space AND session_id = session FOR NO KEY UPDATE;
        is_new := NOT FOUND;
        arrival := clock_timestamp();
        IF is_new OR stored.updated_at <= arrival - coalesce(stored.ttl_hours, default_ttl) * interval '1 hour' THEN
            stored.history := '[]';
            stored.ttl_hours := own_ttl;
            stored.created_at := arrival;
        ELSIF own_ttl > 0 THEN
            stored.ttl_hours := own_ttl;
        END IF;
        stored.updated_at := greatest(stored.updated_at, arrival);
        oldest := arrival - coalesce(stored.ttl_hours, default_ttl) * interval '1 hour';
        kept := sessions_trim_history(stored.history || sessions_add_timestamps(added, arrival), oldest, most);
        IF is_new THEN
            INSERT INTO sessions_app_sessionmemory
                (id, namespace_id, session_id, ttl_hours, history, created_at, updated_at)
            VALUES (new_id, space, session, own_ttl, kept, arrival, arrival)
            ON CONFLICT (namespace_id, session_id) DO NOTHING;
        ELSE
            UPDATE sessions_app_sessionmemory
            SET history = kept, ttl_hours = stored.ttl_hours, created_at = stored.created_at,
                updated_at = stored.updated_at
            WHERE namespace_id = space AND session_id = session;
        END IF;
        EXIT WHEN FOUND;
    END LOOP;
    history_length := jsonb_array_length(kept);
    oldest := stored.updated_at - coalesce(stored.ttl_hours, default_ttl) * interval '1 hour';
END $$;
"""

# Return the newest interactions of a session, or NULL when there is none. Expired interactions are removed as well as
# left out, which does not renew the session; a replica only leaves them out.
FETCH_CONTEXT_SQL = """
CREATE FUNCTION sessions_fetch_context(
    space bigint, session text, default_ttl double precision, most integer, wanted integer
) RETURNS jsonb LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    kept jsonb;
    oldest timestamptz;
BEGIN
    SELECT history, now() - coalesce(ttl_hours, default_ttl) * interval '1 hour' INTO kept, oldest
    FROM sessions_app_sessionmemory
    WHERE namespace_id = space AND session_id = session
      AND updated_at > now() - coalesce(ttl_hours, default_ttl) * interval '1 hour';
    IF kept -> 0 ->> 'timestamp' COLLATE "C" <= sessions_format_timestamp(oldest) AND NOT pg_is_in_recovery() THEN
        PERFORM sessions_prune_history(space, session, oldest, most);
    END IF;
    RETURN sessions_trim_history(kept, oldest, least(wanted, most));
END $$;
"""
PRUNE_HISTORY_SQL = """
CREATE FUNCTION sessions_prune_history(space bigint, session text, oldest timestamptz, most integer) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    kept jsonb;
BEGIN
    SELECT sessions_trim_history(history, oldest, most) INTO kept FROM sessions_app_sessionmemory
    WHERE namespace_id = space AND session_id = session FOR NO KEY UPDATE;
    IF FOUND THEN  -- else the session was deleted meanwhile
        UPDATE sessions_app_sessionmemory SET history = kept WHERE namespace_id = space AND session_id = session;
    END IF;
END $$;
"""

# Add a message to an open conversation; no row when there is none. The conversation's row is locked first, by counting
# the message. So every message is counted, a writer that waited while the conversation was ended finds it closed, and
# created_at, read under that lock, gives the order of arrival.
ADD_MESSAGE_SQL = """
CREATE FUNCTION sessions_add_message(
    space bigint, conversation uuid, new_id uuid, said_by text, agent text, said text, details jsonb, said_at timestamptz
) RETURNS TABLE (added_at timestamptz, of_user varchar, of_session varchar)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    UPDATE sessions_app_conversation SET message_count = message_count + 1
    WHERE namespace_id = space AND id = conversation AND ended_at IS NULL
    RETURNING user_id, session_id INTO of_user, of_session;
    IF FOUND THEN
        added_at := coalesce(said_at, clock_timestamp());
        INSERT INTO sessions_app_message
            (id, namespace_id, conversation_id, role, agent_id, content, metadata, created_at)
        VALUES (new_id, space, conversation, said_by, agent, said, details, added_at);
        RETURN NEXT;
    END IF;
END $$;
"""

# End a conversation and return it; no row when there is none, or when the given end lies before its start. The first
# end is kept, unless a time is given. started_at may be slightly in the future, when it comes from another clock. The
# clock is read under the row's lock: an end is never earlier than a message before it.
END_CONVERSATION_SQL = """
CREATE FUNCTION sessions_end_conversation(
    space bigint, conversation uuid, given_end timestamptz, given_summary text, given_topics varchar[],
    given_importance double precision
) RETURNS SETOF sessions_app_conversation LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    start timestamptz;
    stored_end timestamptz;
    final_end timestamptz;
BEGIN
    SELECT started_at, ended_at INTO start, stored_end FROM sessions_app_conversation
    WHERE namespace_id = space AND id = conversation FOR NO KEY UPDATE;
    IF NOT FOUND OR given_end < start THEN
        RETURN;
    END IF;
    final_end := coalesce(given_end, stored_end, greatest(start, clock_timestamp()));
    RETURN QUERY UPDATE sessions_app_conversation SET
        ended_at = final_end,
        summary = coalesce(given_summary, summary),
        topics = coalesce(given_topics, topics),
        importance = coalesce(given_importance, importance)
    WHERE namespace_id = space AND id = conversation
    RETURNING *;
END $$;
"""


def function(name: str, sql: str) -> migrations.RunSQL:
    return migrations.RunSQL(sql, f"DROP FUNCTION {name}")


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0007_forgets_outdated_help")]
    operations = [
        function("sessions_add_interactions", ADD_INTERACTIONS_SQL),
        function("sessions_prune_history", PRUNE_HISTORY_SQL),
        function("sessions_fetch_context", FETCH_CONTEXT_SQL),
        function("sessions_add_message", ADD_MESSAGE_SQL),
        function("sessions_end_conversation", END_CONVERSATION_SQL),
    ]
