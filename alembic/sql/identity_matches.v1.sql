-- Whoever holds one of the addresses, in a row or only in the profile; who is led there by somebody else's claim.
-- One address has a row for each type that it may be stored under; its key is what the index of profiles has.
CREATE OR REPLACE FUNCTION identity_matches(positions integer[], types text[], addresses text[], keys text[])
RETURNS TABLE (
    "position" integer, identifier_id uuid, customer_id uuid, verified boolean, held_since timestamptz,
    has_proofs boolean, diverted boolean, merged boolean, name text, company text, phone text, email text
)
LANGUAGE plpgsql STABLE ROWS 4 SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH sought AS (
        SELECT * FROM unnest(positions, types, addresses, keys) AS s (position, type, value, key)
    ), matches AS (
        SELECT sought.position, held.id AS identifier_id, held.customer_id,
            COALESCE(held.verified, false) AS verified, held.created_at, false AS diverted,
            held.verified IS NOT TRUE AND EXISTS (
                SELECT FROM customer_merge_moves AS move JOIN customer_merges AS merge ON merge.id = merge_id
                WHERE move.row_id = held.id AND move.table_name = 'customer_identifiers'
                    AND move.returned_at IS NULL AND merge.undone_at IS NULL
                    AND NOT EXISTS (SELECT FROM lost_proofs WHERE customer_id = merge.absorbed_id)
            ) AS merged
        FROM sought
        JOIN customer_identifiers AS held
            ON held.identifier_type = sought.type AND held.identifier_value = sought.value
        UNION ALL
        SELECT sought.position, NULL, customers.id, false, customers.created_at, false, false
        FROM sought JOIN customers ON
            regexp_replace(regexp_replace(lower(translate(normalize(email, NFKC), '。İ', '.i') COLLATE "C"), 'xn--(?:([^.@]*)-)?[^.@-]*', '\1', 'g'), '[^a-z0-9.@-]', '', 'g')
            = sought.key
        WHERE sought.type = 'email'
        UNION ALL
        SELECT sought.position, NULL, customers.id, false, customers.created_at, false, false
        FROM sought JOIN customers ON
            "right"(regexp_replace("substring"(translate(normalize(phone, NFKC), '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹', '01234567890123456789'), '[0-9][0-9\s()./\u2000-\u206f\u2212\u30fc-]*'), '[^0-9]', '', 'g'), 6)
            = sought.key AND phone IS NOT NULL
        WHERE sought.type = 'phone'
        UNION ALL
        SELECT sought.position, NULL, COALESCE(living.customer_id, event.customer_id), false,
            event.created_at, true, living.customer_id IS NOT NULL
                AND NOT EXISTS (SELECT FROM lost_proofs WHERE customer_id = event.customer_id)
        FROM sought
        JOIN customer_identifiers AS held
            ON held.identifier_type = sought.type AND held.identifier_value = sought.value
            AND held.verified IS NOT TRUE
        JOIN identity_events AS event ON event.identifier_id = held.id AND event.event = 'conflict'
        LEFT JOIN customer_redirects AS living ON living.absorbed_id = event.customer_id
    )
    SELECT matches.position, matches.identifier_id, matches.customer_id, matches.verified,
        COALESCE(matches.created_at, to_timestamp(0)),
        EXISTS (
            SELECT FROM customer_identifiers AS other
            WHERE other.customer_id = matches.customer_id AND other.verified
        ) OR EXISTS (
            SELECT FROM lost_proofs WHERE customer_id = matches.customer_id
        ) OR EXISTS (
            SELECT FROM customer_redirects AS absorbed
            JOIN lost_proofs ON lost_proofs.customer_id = absorbed.absorbed_id
            WHERE absorbed.customer_id = matches.customer_id
        ),
        matches.diverted, matches.merged,
        customers.name::text, customers.company::text, customers.phone::text, customers.email::text
    FROM matches JOIN customers ON customers.id = matches.customer_id;
END;
$$;
