CREATE OR REPLACE FUNCTION ticket_status_change_hash(entry ticket_status_changes)
RETURNS bytea LANGUAGE sql STABLE AS $$
    -- A JSON array keeps fields apart and NULL apart from ''; an epoch is the same in every time zone.
    SELECT sha256(entry.prev_hash || convert_to(jsonb_build_array(
        entry.id, entry.seq, entry.ticket_id, entry.old_status, entry.new_status, entry.changed_by,
        extract(epoch FROM entry.changed_at), entry.comment, entry.forced, entry.db_user
    )::text, 'UTF8'))
$$;
