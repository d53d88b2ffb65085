-- Every change of who holds an address leaves one event, whoever makes it: with the actor that a service or the
-- client names, else the database user.
--
-- An identifier that moves in a merge, or goes back by its undoing, is in the merge's journal, and the merge has
-- left an event of its own; so has one that a merge makes of what a profile tells.
CREATE OR REPLACE FUNCTION record_identifier_event()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    kind text;
    other uuid;
    facts jsonb := '{}';
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'UPDATE' AND EXISTS (
        SELECT FROM customer_merges
        WHERE absorbed_id = COALESCE(NEW.customer_id, OLD.customer_id)
            AND CASE TG_OP WHEN 'INSERT' THEN merged_at ELSE undone_at END >= now()
            AND filled #> '{identifiers,1}' ? COALESCE(NEW.id, OLD.id)::text
    ) THEN
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO identity_events (customer_id, event, identifier_id, actor, reason)
        VALUES (OLD.customer_id, 'detached', OLD.id, ticket_actor(), ticket_comment());
        RETURN NULL;
    ELSIF TG_OP = 'INSERT' THEN
        kind := 'attached';
    ELSIF NEW.customer_id <> OLD.customer_id THEN
        IF EXISTS (
            SELECT FROM customer_merge_moves AS move JOIN customer_merges AS merge ON merge.id = move.merge_id
            WHERE move.table_name = 'customer_identifiers' AND move.row_id = NEW.id AND (
                merge.undone_at IS NULL AND merge.merged_at >= now()
                    AND (merge.absorbed_id, merge.survivor_id) = (OLD.customer_id, NEW.customer_id)
                OR merge.undone_at >= now() AND merge.absorbed_id = NEW.customer_id
            )
        ) THEN
            RETURN NULL;
        END IF;
        kind := 'reassigned';
        other := OLD.customer_id;
    ELSIF (NEW.id, NEW.identifier_type, NEW.identifier_value)
        <> (OLD.id, OLD.identifier_type, OLD.identifier_value)
    THEN
        -- A spelling alone is no change, as far as SQL can tell.
        IF NEW.id = OLD.id AND canonical_identifier(NEW.identifier_type, NEW.identifier_value)
            = canonical_identifier(OLD.identifier_type, OLD.identifier_value)
        THEN
            RETURN NULL;
        END IF;
        kind := 'attached';
        facts := '{"replaces": "another address or spelling"}';
    ELSIF COALESCE(NEW.verified, false) <> COALESCE(OLD.verified, false) THEN
        kind := 'verified';
        facts := CASE WHEN NEW.verified THEN '{}' ELSE '{"withdrawn": true}' END;
    ELSE
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND kind <> 'verified' AND COALESCE(NEW.verified, false) <> COALESCE(OLD.verified, false) THEN
        facts := facts || jsonb_build_object('verified', COALESCE(NEW.verified, false));
    END IF;
    INSERT INTO identity_events (customer_id, event, identifier_id, other_customer_id, actor, reason, details)
    VALUES (NEW.customer_id, kind, NEW.id, other, ticket_actor(), ticket_comment(), facts);
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION record_identifier_event() FROM PUBLIC;
