CREATE OR REPLACE FUNCTION ticket_field_change_hash(entry ticket_field_changes)
RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(entry.prev_hash || convert_to(jsonb_build_array(
        entry.id, entry.seq, entry.ticket_id, entry.field, entry.old_value, entry.new_value,
        entry.changed_by, extract(epoch FROM entry.changed_at), entry.comment, entry.db_user
    )::text, 'UTF8'))
$$;
