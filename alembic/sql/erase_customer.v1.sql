-- What the insertion of a row into erasures does: the personal data of one customer is gone, all of it or none.
--
-- What is left is the customer's id, tickets, times, codes and numbers. An erasure is the only thing that takes
-- words out of append-only records, and there is no other way to write one down.
CREATE OR REPLACE FUNCTION erase_customer()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    living uuid := NEW.customer_id;
    target uuid;
    locked boolean;
    scope record;
    keep_updated_at text := current_setting('crm.keep_updated_at', true);
    counts jsonb;
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NEW;
    END IF;
    -- Waits for whoever writes for this customer, for a merge and for its undoing, and follows them.
    LOOP
        PERFORM 1 FROM customers WHERE id = living FOR UPDATE;
        locked := FOUND;
        EXIT WHEN locked AND living = NEW.customer_id;
        SELECT id INTO target FROM (
            SELECT id FROM customers WHERE id = NEW.customer_id
            UNION ALL SELECT customer_id FROM customer_redirects WHERE absorbed_id = NEW.customer_id
        ) AS current;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no customer %', NEW.customer_id USING ERRCODE = 'foreign_key_violation',
                CONSTRAINT = 'erasures_customer', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
        END IF;
        EXIT WHEN locked AND living = target;
        living := target;
    END LOOP;
    SELECT * INTO scope FROM customer_scope(living);
    IF EXISTS (SELECT FROM legal_holds WHERE customer_id = ANY (scope.customer_ids) AND released_at IS NULL) THEN
        RAISE EXCEPTION 'customer % is under a legal hold', living USING ERRCODE = 'restrict_violation',
            CONSTRAINT = 'erasures_legal_hold', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;

    IF NOT is_plain_actor(NEW.actor) OR names_anybody(NEW.reason, scope.customer_ids, scope.addresses) THEN
        RAISE EXCEPTION 'the actor or the reason names the person' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'erasures_words', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;

    -- In the order in which services take them.
    PERFORM FROM conversations WHERE id = ANY (scope.conversation_ids) ORDER BY id FOR NO KEY UPDATE;
    PERFORM FROM tickets WHERE id = ANY (scope.ticket_ids) ORDER BY id FOR NO KEY UPDATE;

    PERFORM set_config('crm.keep_updated_at', 'on', true);
    counts := erase_words(
            scope.conversation_ids, scope.message_ids, scope.ticket_ids, scope.types, scope.addresses
        )
        || erase_record_words(NEW.id, scope.ticket_ids)
        || erase_metrics(
            scope.customer_ids || scope.conversation_ids || scope.message_ids || scope.ticket_ids, scope.addresses
        );
    PERFORM set_config('crm.once_actor', NEW.actor, true);
    counts := counts || erase_identity(living, scope.customer_ids);
    PERFORM set_config('crm.keep_updated_at', COALESCE(keep_updated_at, ''), true);
    INSERT INTO identity_events (customer_id, event, actor) VALUES (living, 'erased', NEW.actor);

    NEW.customer_id := living;
    NEW.db_user := session_user;
    NEW.erased_at := clock_timestamp();
    NEW.report := jsonb_build_object('customer_ids', scope.customer_ids, 'rows', counts);
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION erase_customer() FROM PUBLIC;
